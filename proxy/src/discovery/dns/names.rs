//! What a name may stand for.

use hickory_resolver::proto::rr::Name;

/// As the system's resolver reads names (resolv.conf(5)): one with a dot at its end is whole; one with
/// enough dots is asked for as it is and then below each of `search`, others the other way round.
///
/// # Errors
/// It is no name.
pub(super) fn meant(text: &str, ndots: usize, search: &[Name]) -> Result<Vec<Name>, String> {
    let mut name = Name::from_str_relaxed(text)
        .or_else(|_| Name::from_ascii(text))
        .map_err(|error| format!("{text}: {error}"))?;
    if name.is_fqdn() {
        return Ok(vec![name]);
    }
    // What gets too long below a domain is none of its names.
    let below: Vec<Name> = search
        .iter()
        .filter_map(|domain| name.clone().append_domain(domain).ok())
        .collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    name.set_fqdn(true);
    Ok(match dots >= ndots {
        true => std::iter::once(name).chain(below).collect(),
        false => below.into_iter().chain([name]).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_looked_for_below_the_search_list() {
        let search = ["ns.svc.", "svc."].map(|name| Name::from_ascii(name).unwrap());
        for (text, ndots, names) in [
            ("prom", 1, &["prom.ns.svc.", "prom.svc.", "prom."][..]),
            (
                "prom.ns",
                1,
                &["prom.ns.", "prom.ns.ns.svc.", "prom.ns.svc."],
            ),
            (
                "prom.ns",
                5,
                &["prom.ns.ns.svc.", "prom.ns.svc.", "prom.ns."],
            ),
            ("prom.ns.", 5, &["prom.ns."]),
            (
                "_web._tcp.prom",
                1,
                &[
                    "_web._tcp.prom.",
                    "_web._tcp.prom.ns.svc.",
                    "_web._tcp.prom.svc.",
                ],
            ),
        ] {
            let meant = meant(text, ndots, &search).unwrap();
            let meant: Vec<String> = meant.iter().map(Name::to_ascii).collect();
            assert_eq!(meant, names, "{text} {ndots}");
        }
        assert!(meant("a..b", 1, &search).is_err());
    }
}
