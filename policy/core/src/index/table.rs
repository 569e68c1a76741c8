//! A hash table of numbers, whose keys stand elsewhere.

/// A number and the hash of its key: so what stands elsewhere is looked at where it is most likely the one.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    number: u32,
}

impl Slot {
    const FREE: Self = Self { hash: 0, number: u32::MAX };

    const fn is_free(self) -> bool {
        self.number == Self::FREE.number
    }
}

/// Open addressing with linear probing, at most three quarters full.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    used: usize,
}

impl Table {
    /// The number with this hash that is the one looked for.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.start(hash);
        loop {
            let slot = *self.slots.get(at)?;
            if slot.is_free() {
                return None;
            }
            if slot.hash == hash && is_it(slot.number) {
                return Some(slot.number);
            }
            at = self.after(at);
        }
    }

    /// Adds a number that isn't there yet.
    pub(super) fn insert(&mut self, hash: u32, number: u32) {
        self.used = self.used.saturating_add(1);
        if self.used.saturating_mul(4) > self.slots.len().saturating_mul(3) {
            let size = self.slots.len().saturating_mul(2).max(8);
            let old = std::mem::replace(&mut self.slots, vec![Slot::FREE; size]);
            for slot in old.into_iter().filter(|slot| !slot.is_free()) {
                self.put(slot);
            }
        }
        self.put(Slot { hash, number });
    }

    fn put(&mut self, new: Slot) {
        let mut at = self.start(new.hash);
        while self.slots.get(at).is_some_and(|slot| !slot.is_free()) {
            at = self.after(at);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = new;
        }
    }

    fn start(&self, hash: u32) -> usize {
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.slots.len().wrapping_sub(1)
    }
}

/// FNV-1a with a last mixing. Only the policy's author chooses what is in a table, so nobody else can make it slow.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }

    pub(super) const fn number(self, number: u32) -> Self {
        Self((self.0 ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) const fn finish(self) -> u32 {
        // The upper half is the better mixed one.
        let [a, b, c, d, ..] = (self.0 ^ (self.0 >> 32)).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::{Hash, Table};

    #[test]
    fn numbers_are_found_by_their_keys() {
        let keys: Vec<String> = (0..1000).map(|i| format!("key {i}")).collect();
        let hash = |key: &str| key.bytes().fold(Hash::new(), Hash::byte).finish();
        let key = |number: u32| keys[number as usize].as_str();
        let mut table = Table::default();
        assert_eq!(table.find(hash("key 1"), |n| key(n) == "key 1"), None);
        for number in 0..1000 {
            table.insert(hash(key(number)), number);
        }
        for number in 0..1000 {
            assert_eq!(table.find(hash(key(number)), |n| key(n) == key(number)), Some(number));
        }
        assert_eq!(table.find(hash("other"), |n| key(n) == "other"), None);
    }
}
