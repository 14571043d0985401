//! A file of `examples/`, with the test's own ports and paths in it.

use std::path::Path;

/// A copy that is being made.
#[derive(Debug)]
pub(super) struct Example {
    name: &'static str,
    text: String,
}

impl Example {
    /// Of `examples/{name}`.
    pub(super) fn read(name: &'static str) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = tests.join("../examples").join(name);
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // What is shown beside it in comments is not what is replaced.
        let is_code = |line: &&str| !line.trim_start().starts_with('#');
        let code: Vec<&str> = text.lines().filter(is_code).collect();
        Self {
            name,
            text: code.join("\n") + "\n",
        }
    }

    /// With `new` wherever `old` is.
    ///
    /// # Panics
    /// When it is nowhere: the example is not what the test thinks it is.
    pub(super) fn with(mut self, old: &str, new: &str) -> Self {
        let Self { name, text } = &self;
        assert!(text.contains(old), "no {old:?} in examples/{name}:\n{text}");
        self.text = text.replace(old, new);
        self
    }

    /// What it is now.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}
