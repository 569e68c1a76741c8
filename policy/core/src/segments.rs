//! What stands between slashes.

/// The segments of a path without its leading `/`: one more than it has slashes.
///
/// Each request is split several times, so this is one small loop, which `slice::split` is not where code is kept small.
#[derive(Clone, Debug)]
pub(crate) struct Segments<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Segments<'a> {
    pub(crate) const fn of(path: &'a [u8]) -> Self {
        Self { rest: Some(path) }
    }

    /// No segments at all.
    pub(crate) const NONE: Self = Self { rest: None };
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut end = 0_usize;
        for &byte in rest {
            if byte == b'/' {
                break;
            }
            end = end.wrapping_add(1);
        }
        self.rest = rest.get(end.wrapping_add(1)..);
        rest.get(..end)
    }
}

#[cfg(test)]
mod tests {
    use super::Segments;

    #[test]
    fn they_are_those_of_a_split() {
        for path in ["", "a", "/", "a/", "/a", "a/b", "a//b", "abc/de/f"] {
            let expected: Vec<&[u8]> = path.as_bytes().split(|&b| b == b'/').collect();
            assert_eq!(Segments::of(path.as_bytes()).collect::<Vec<_>>(), expected, "{path}");
        }
        assert_eq!(Segments::NONE.count(), 0);
    }
}
