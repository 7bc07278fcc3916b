//! Tables for people: columns as wide as their widest cell.

/// Rows under a heading, as lines. Columns whose heading begins with `>` are set to the right.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = heading.iter().map(|name| name.trim_start_matches('>')).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([names[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).zip(heading).map(|((cell, width), name)| match name.starts_with('>') {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut names.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Numbers in a row as ranges: `0-3, 7`.
pub(crate) fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => found.push((number, number)),
        }
    }
    let shown = found.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Bytes with one unit: `17`, `3.4 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| count >= *unit) {
        // Tenths, without a detour over floating point.
        Some((name, unit)) => format!("{}.{} {name}", count / unit, count % unit * 10 / unit),
        None => count.to_string(),
    }
}

/// Milliseconds with one unit: `17ms`, `3.4s`, `12m`.
pub(crate) fn milliseconds(count: u64) -> String {
    match count {
        0..1000 => format!("{count}ms"),
        1000..60_000 => format!("{}.{}s", count / 1000, count % 1000 / 100),
        60_000..7_200_000 => format!("{}m", count / 60_000),
        _ => format!("{}h", count / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["a".to_owned(), "1000".to_owned(), String::new()], vec!["longer".into(), "1".into(), "x".into()]];
        let expected = "node       n  zone\na       1000\nlonger     1  x";
        assert_eq!(table(&["node", ">n", "zone"], &rows), expected);
        assert_eq!(table(&["node"], &[]), "node");
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(ranges([0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(ranges([]), "");
        assert_eq!(
            [0, 1023, 1024, 1 << 20, (3 << 30) + (1 << 29)].map(bytes),
            ["0", "1023", "1.0 KiB", "1.0 MiB", "3.5 GiB"]
        );
        let shown = [999, 1500, 60_000, 7_200_000].map(milliseconds);
        assert_eq!(shown, ["999ms", "1.5s", "1m", "2h"]);
    }
}
