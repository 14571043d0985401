//! A path below which something is.

/// Reads `/PREFIX`: empty for `/`, else with a slash in front and none behind.
///
/// # Errors
/// What would be one.
pub(crate) fn prefix(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !trimmed.is_empty() && (!trimmed.starts_with('/') || !trimmed.chars().all(legal)) {
        return Err("expected /PREFIX, a path of letters, digits and -._~".into());
    }
    if trimmed
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return Err("expected /PREFIX without . or .. as a segment".into());
    }
    Ok(trimmed.to_owned())
}
