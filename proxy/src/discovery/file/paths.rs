//! Which files are meant: one, or all whose name fits.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Most files for one pattern.
const MOST_FILES: usize = 256;

/// The file itself; or, with `*` in the last segment of its path, all that fit, sorted. It blocks.
///
/// # Errors
/// The folder, and why it cannot be read; none that fits is no error.
pub(super) fn meant(path: &Path) -> Result<Vec<PathBuf>, String> {
    let Some(pattern) = path.file_name().and_then(OsStr::to_str) else {
        return Ok(vec![path.to_owned()]);
    };
    if !pattern.contains('*') {
        return Ok(vec![path.to_owned()]);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name.to_str().is_some_and(|name| fits(pattern, name)) {
            files.push(folder.join(name));
        }
        if files.len() > MOST_FILES {
            return Err(format!("{}: fits over {MOST_FILES} files", path.display()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether a name is the pattern with any text for each `*`. What starts with a dot is hidden, as in a
/// shell, where Kubernetes keeps what it is about to swap.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    if first.is_empty() && name.starts_with('.') {
        return false;
    }
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_names_and_not_hidden_ones() {
        for (pattern, name, does) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", false),
            ("*.json", ".a.json", false),
            ("*.json", "a.json.tmp", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("*", "x", true),
            ("a*", "a", true),
            (".a*", ".ab", true),
        ] {
            assert_eq!(fits(pattern, name), does, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_sorted_and_a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let files = meant(&folder.path().join("*.yml")).unwrap();
        assert_eq!(
            files,
            ["a.yml", "b.yml"].map(|name| folder.path().join(name))
        );
        assert_eq!(meant(&folder.path().join("x*")), Ok(vec![]));
        let one = folder.path().join("none.yml");
        assert_eq!(meant(&one), Ok(vec![one]));
        let error = meant(&folder.path().join("none/*.yml")).unwrap_err();
        assert!(error.contains("none: No such file"), "{error}");
    }

    #[test]
    fn too_many_files_are_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MOST_FILES {
            std::fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let error = meant(&folder.path().join("*")).unwrap_err();
        assert!(error.ends_with("fits over 256 files"), "{error}");
    }
}
