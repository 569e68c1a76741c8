//! Which files make one policy.

use std::io;
use std::path::{Path, PathBuf};

/// The files of the policy at `path`: itself, or of a directory its `*.yaml`, by name.
///
/// Hidden files are left out: the volume of a `ConfigMap` has its files once more in a hidden folder.
///
/// # Errors
/// The directory can't be read, or has no such file.
pub fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "yaml") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the directory has no *.yaml; a policy is a file, or a directory of such files",
        ));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::files_of;

    #[test]
    fn a_directory_is_its_visible_yaml_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(files_of(&at("absent.yaml")).unwrap(), [at("absent.yaml")]);
        let none = files_of(directory.path()).unwrap_err().to_string();
        assert!(none.starts_with("the directory has no *.yaml"), "{none}");
        for name in ["b.yaml", "a.yaml", ".a.yaml.swp", ".hidden.yaml", "notes.md"] {
            std::fs::write(at(name), "").unwrap();
        }
        assert_eq!(files_of(directory.path()).unwrap(), [at("a.yaml"), at("b.yaml")]);
    }
}
