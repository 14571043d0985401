//! Why nobody answered, in one line.

/// A line of ours is cut at 400 characters; everybody is to have a part in it.
const ALL: usize = 380;
const EACH_AT_LEAST: usize = 60;

/// `a: connection refused; b: 503 not ready (WAL replay 3/10)`
pub(super) fn one_line(reasons: &[(String, String)]) -> String {
    let each = (ALL / reasons.len().max(1)).max(EACH_AT_LEAST);
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(name, why)| shortened(&format!("{name}: {why}"), each))
        .collect();
    reasons.join("; ")
}

fn shortened(text: &str, most: usize) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.char_indices().nth(most) {
        None => text,
        Some((end, _)) => format!("{}...", text[..end].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_part_in_a_line_that_has_a_bound() {
        let of = |reasons: &[(&str, &str)]| {
            let owned = |(name, why): &(&str, &str)| ((*name).to_owned(), (*why).to_owned());
            one_line(&reasons.iter().map(owned).collect::<Vec<_>>())
        };
        let short = of(&[("a", "connection refused"), ("b", "503 not ready")]);
        assert_eq!(short, "a: connection refused; b: 503 not ready");
        let long = of(&[
            ("a", &"x".repeat(1000)),
            ("b", "line\nbreak"),
            ("c", &"ü".repeat(1000)),
        ]);
        assert!(long.chars().count() < 400, "{long}");
        assert!(long.contains("b: line break; c: üü"), "{long}");
        assert_eq!(of(&[]), "");
    }
}
