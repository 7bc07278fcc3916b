//! Suggestions for misspelt names.

/// The known name that is nearest to `name`, if any is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&name, known);
    let (distance, found) = known.map(|known| (distance(known), known)).min()?;
    // A third of the letters may be wrong; more is another word.
    (distance * 3 <= found.len().max(3)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_others_are_not() {
        let known = ["keyspace", "contact_points", "tls", "listen"];
        for (typed, expected) in [
            ("keyspce", Some("keyspace")),
            ("contactPoints", Some("contact_points")),
            ("contact-points", Some("contact_points")),
            ("tsl", Some("tls")),
            ("lisetn", Some("listen")),
            ("password", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known.into_iter()), expected, "{typed}");
        }
    }
}
