//! The rules of tables.

use bytes::Bytes;

use super::{Subject, noise, text};
use crate::{PartitionWrite, Row, RowKey, ScanOrder, ScanRange, Table, Version};

fn put(partition: &str, version: Version, rows: &[(&str, &str)]) -> PartitionWrite {
    let puts = rows.iter().map(|(key, value)| (text(key), text(value))).collect();
    PartitionWrite { partition: text(partition), version, puts, deletes: vec![] }
}

fn delete(partition: &str, version: Version, keys: &[&str]) -> PartitionWrite {
    let deletes = keys.iter().map(|key| text(key)).collect();
    PartitionWrite { partition: text(partition), version, puts: vec![], deletes }
}

async fn write(table: &dyn Table, write: PartitionWrite) {
    table.write(vec![write]).await.unwrap();
}

async fn value(table: &dyn Table, partition: &str, key: &str) -> Option<String> {
    let row = table.get(&text(partition), &text(key)).await.unwrap()?;
    assert_eq!(row.key, text(key));
    Some(String::from_utf8(row.value.to_vec()).unwrap())
}

async fn all_keys(table: &dyn Table, partition: &str) -> Vec<Bytes> {
    let page = table.scan(&text(partition), ScanRange::default(), ScanOrder::Ascending, 1000).await.unwrap();
    assert!(!page.more);
    page.rows.into_iter().map(|row| row.key).collect()
}

/// A row has the value and version with which it was put; what was never put is absent.
pub async fn what_was_put_can_be_got(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, put("p", 3, &[("a", "1"), ("b", "")])).await;
    let row = table.get(&text("p"), &text("a")).await.unwrap();
    assert_eq!(row, Some(Row { key: text("a"), value: text("1"), version: 3 }));
    assert_eq!(value(&*table, "p", "b").await.as_deref(), Some(""));
    assert_eq!(value(&*table, "p", "c").await, None);
    assert_eq!(value(&*table, "q", "a").await, None);
}

/// A write of many mebibytes to one partition, as a long history's first checkpoint is, arrives whole.
pub async fn large_writes_survive(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let contents: Vec<Bytes> = (0..20).map(|number| noise(1 << 20, number)).collect();
    let keys = (0..).map(|number| text(&format!("row {number:02}")));
    let puts: Vec<_> = keys.zip(contents.iter().cloned()).collect();
    let whole = PartitionWrite { partition: text("p"), version: 7, puts: puts.clone(), ..PartitionWrite::default() };
    write(&*table, whole).await;
    for (key, content) in &puts {
        let row = table.get(&text("p"), key).await.unwrap().unwrap();
        assert!(row.value == *content && row.version == 7, "{key:?}");
    }
}

/// Writes may arrive in any order: the highest version is what remains.
pub async fn the_highest_version_wins_in_any_order(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for (order, key) in orders.iter().zip(["a", "b", "c", "d", "e", "f"]) {
        for version in order {
            write(&*table, put("p", *version, &[(key, &format!("at {version}"))])).await;
        }
        assert_eq!(value(&*table, "p", key).await.as_deref(), Some("at 3"), "in order {order:?}");
    }
}

/// Put at 5, delete at 7, and a late put at 6: the row stays deleted.
pub async fn a_late_put_stays_deleted(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, put("p", 5, &[("a", "five")])).await;
    write(&*table, delete("p", 7, &["a"])).await;
    write(&*table, put("p", 6, &[("a", "six")])).await;
    assert_eq!(value(&*table, "p", "a").await, None);
    subject.restart().await;
    let table = subject.store().table;
    write(&*table, put("p", 6, &[("a", "six")])).await;
    assert_eq!(value(&*table, "p", "a").await, None, "after a restart");
}

/// A put and a delete of one version: the put wins, whichever comes first, in one write or in two.
pub async fn at_the_same_version_a_put_wins(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, put("p", 4, &[("a", "put")])).await;
    write(&*table, delete("p", 4, &["a"])).await;
    write(&*table, delete("p", 4, &["b"])).await;
    write(&*table, put("p", 4, &[("b", "put")])).await;
    write(&*table, PartitionWrite { deletes: vec![text("c")], ..put("p", 4, &[("c", "put")]) }).await;
    for key in ["a", "b", "c"] {
        assert_eq!(value(&*table, "p", key).await.as_deref(), Some("put"), "{key}");
    }
}

/// Repeating a write, even after newer ones, changes nothing.
pub async fn the_same_write_may_be_repeated(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let mixed = PartitionWrite { deletes: vec![text("b")], ..put("p", 4, &[("a", "four")]) };
    write(&*table, put("p", 3, &[("b", "three")])).await;
    for _ in 0..3 {
        write(&*table, mixed.clone()).await;
    }
    assert_eq!(all_keys(&*table, "p").await, [text("a")]);
    write(&*table, put("p", 5, &[("b", "five")])).await;
    write(&*table, mixed).await;
    assert_eq!(value(&*table, "p", "a").await.as_deref(), Some("four"));
    assert_eq!(value(&*table, "p", "b").await.as_deref(), Some("five"));
}

/// A row can come back after its deletion, and be deleted again.
pub async fn a_put_above_a_tombstone_lives(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, put("p", 1, &[("a", "one")])).await;
    write(&*table, delete("p", 2, &["a"])).await;
    write(&*table, put("p", 3, &[("a", "three")])).await;
    assert_eq!(value(&*table, "p", "a").await.as_deref(), Some("three"));
    write(&*table, delete("p", 2, &["a"])).await;
    assert_eq!(value(&*table, "p", "a").await.as_deref(), Some("three"), "an older delete loses");
    write(&*table, delete("p", 4, &["a"])).await;
    write(&*table, put("p", 3, &[("a", "three")])).await;
    assert_eq!(value(&*table, "p", "a").await, None);
}

/// A delete may overtake the put it follows; the lower of two deletes never weakens the higher.
pub async fn a_tombstone_holds_back_rows_never_seen(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, delete("p", 7, &["a"])).await;
    write(&*table, delete("p", 2, &["a"])).await;
    write(&*table, put("p", 6, &[("a", "six")])).await;
    assert_eq!(value(&*table, "p", "a").await, None);
}

/// Following `more` visits each row once, in order, whatever the page size and direction.
pub async fn scans_page_in_both_directions(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let keys: Vec<Bytes> = (0..25_u8).map(|n| Bytes::copy_from_slice(&[n / 5, n % 5])).collect();
    let puts = keys.iter().map(|key| (key.clone(), text("value"))).collect();
    table.write(vec![PartitionWrite { partition: text("p"), version: 1, puts, deletes: vec![] }]).await.unwrap();
    let descending: Vec<Bytes> = keys.iter().rev().cloned().collect();
    for limit in [1, 2, 7, 24, 25, 26, 1000] {
        assert_eq!(page_through(&*table, ScanOrder::Ascending, limit).await, keys, "ascending by {limit}");
        assert_eq!(page_through(&*table, ScanOrder::Descending, limit).await, descending, "descending by {limit}");
    }
}

async fn page_through(table: &dyn Table, order: ScanOrder, limit: usize) -> Vec<Bytes> {
    let mut keys: Vec<RowKey> = Vec::new();
    let mut range = ScanRange::default();
    loop {
        let page = table.scan(&text("p"), range.clone(), order, limit).await.unwrap();
        assert!(page.rows.len() <= limit);
        keys.extend(page.rows.into_iter().map(|row| row.key));
        if !page.more {
            return keys;
        }
        let last = keys.last().expect("a page with more to come has rows").clone();
        match order {
            // The least key above another is that key with a zero byte behind it.
            ScanOrder::Ascending => range.from = [&last[..], &[0]].concat().into(),
            ScanOrder::Descending => range.to = Some(last),
        }
    }
}

/// `from` is inclusive, `to` exclusive, in both directions; an empty range is empty.
pub async fn scans_respect_their_range(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, put("p", 1, &[("a", ""), ("ab", ""), ("b", ""), ("c", ""), ("d", "")])).await;
    let cases: [(&str, Option<&str>, &[&str]); 8] = [
        ("", None, &["a", "ab", "b", "c", "d"]),
        ("a", Some("b"), &["a", "ab"]),
        ("aa", Some("c"), &["ab", "b"]),
        ("c", None, &["c", "d"]),
        ("b", Some("b"), &[]),
        ("d", Some("b"), &[]),
        ("e", None, &[]),
        ("", Some(""), &[]),
    ];
    for (from, to, expected) in cases {
        let range = ScanRange { from: text(from), to: to.map(text) };
        for order in [ScanOrder::Ascending, ScanOrder::Descending] {
            let page = table.scan(&text("p"), range.clone(), order, 10).await.unwrap();
            let mut found: Vec<_> = page.rows.into_iter().map(|row| row.key).collect();
            if order == ScanOrder::Descending {
                found.reverse();
            }
            let expected: Vec<_> = expected.iter().map(|key| text(key)).collect();
            assert_eq!(found, expected, "{range:?} {order:?}");
        }
    }
}

/// Deleted rows do not show, nor do they use up the limit for good.
pub async fn scans_skip_tombstones(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let keys: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), "value")).collect();
    write(&*table, put("p", 1, &rows)).await;
    let gone: Vec<_> = keys.iter().filter(|key| !key.ends_with('7')).map(String::as_str).collect();
    write(&*table, delete("p", 2, &gone)).await;
    let expected: Vec<_> = keys.iter().filter(|key| key.ends_with('7')).map(|key| text(key)).collect();
    assert_eq!(page_through(&*table, ScanOrder::Ascending, 3).await, expected);
    let descending: Vec<_> = expected.iter().rev().cloned().collect();
    assert_eq!(page_through(&*table, ScanOrder::Descending, 3).await, descending);
}

/// A scan stays in its partition, even if another's name starts alike.
pub async fn partitions_are_apart(subject: &mut dyn Subject) {
    let table = subject.store().table;
    table.write(vec![put("p", 1, &[("b", "p")]), put("pa", 9, &[("", "pa"), ("b", "pa")])]).await.unwrap();
    write(&*table, delete("pb", 9, &["b"])).await;
    assert_eq!(all_keys(&*table, "p").await, [text("b")]);
    assert_eq!(value(&*table, "p", "b").await.as_deref(), Some("p"));
    assert_eq!(all_keys(&*table, "").await, Vec::<Bytes>::new());
}

/// One call may write many partitions, each at its own version, some of them twice.
pub async fn one_write_spans_partitions(subject: &mut dyn Subject) {
    let table = subject.store().table;
    table.write(vec![]).await.unwrap();
    let writes = vec![
        put("p", 2, &[("a", "two")]),
        put("q", 9, &[("a", "nine")]),
        put("p", 1, &[("a", "one"), ("b", "one")]),
        PartitionWrite { partition: text("r"), ..PartitionWrite::default() },
    ];
    table.write(writes).await.unwrap();
    assert_eq!(value(&*table, "p", "a").await.as_deref(), Some("two"));
    assert_eq!(value(&*table, "p", "b").await.as_deref(), Some("one"));
    assert_eq!(value(&*table, "q", "a").await.as_deref(), Some("nine"));
}

/// A walk over partitions, however small its pages are, names all whose names begin as asked for and no others.
pub async fn a_walk_names_every_partition(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let mut expected = Vec::new();
    for number in 0..25 {
        let (inside, outside) = (format!("walked/{number}\0x"), format!("walker/{number}"));
        write(&*table, put(&inside, 1, &[("a", "1"), ("b", "2")])).await;
        write(&*table, put(&outside, 1, &[("a", "1")])).await;
        expected.push(text(&inside));
    }
    expected.sort();
    for limit in [1, 7, 100] {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let page = table.partitions(b"walked/", from, limit).await.unwrap();
            found.extend(page.partitions);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        found.sort();
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

/// A dropped partition is as if it had never been written; others stay.
pub async fn dropping_a_partition_forgets_its_tombstones(subject: &mut dyn Subject) {
    let table = subject.store().table;
    let keys: Vec<String> = (0..3000).map(|n| format!("{n:05}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), "value")).collect();
    write(&*table, put("p", 5, &rows)).await;
    write(&*table, delete("p", 7, &["gone"])).await;
    write(&*table, put("pp", 5, &[("a", "stays")])).await;
    table.drop_partition(&text("p")).await.unwrap();
    table.drop_partition(&text("never written")).await.unwrap();
    assert_eq!(all_keys(&*table, "p").await, Vec::<Bytes>::new());
    write(&*table, put("p", 1, &[("gone", "back")])).await;
    assert_eq!(all_keys(&*table, "p").await, [text("gone")]);
    assert_eq!(value(&*table, "pp", "a").await.as_deref(), Some("stays"));
}

/// Empty, binary, long and large: keys and values come back byte for byte, and keys sort as bytes.
pub async fn odd_keys_and_values_survive(subject: &mut dyn Subject) {
    let mut keys: Vec<Bytes> = vec![text(""), text("\0"), text("\0\0"), text("é"), noise(1000, 1), noise(1000, 2)];
    keys.extend([Bytes::from_static(&[0xFF]), Bytes::from_static(&[0xFF, 0]), Bytes::from_static(&[0x7F, 0xFF])]);
    let sizes = [0, 1, 900, 2000, 5000, 100_000, 1 << 20, 2_500_000, 17];
    let puts: Vec<_> = keys.iter().zip(sizes).map(|(key, size)| (key.clone(), noise(size, size as u64))).collect();
    let write = PartitionWrite { partition: noise(300, 9), version: 1 << 62, puts: puts.clone(), deletes: vec![] };
    subject.store().table.write(vec![write.clone()]).await.unwrap();
    subject.restart().await;
    let table = subject.store().table;
    for (key, value) in &puts {
        let row = table.get(&write.partition, key).await.unwrap().expect("the row is there");
        assert!(row.value == *value, "a value of {} bytes changed", value.len());
        assert_eq!(row.version, 1 << 62);
    }
    keys.sort();
    let page = table.scan(&write.partition, ScanRange::default(), ScanOrder::Ascending, 100).await.unwrap();
    let mut found: Vec<_> = page.rows.into_iter().map(|row| row.key).collect();
    // Large rows may be spread over several pages.
    let mut more = page.more;
    while more {
        let from = [&found[found.len() - 1][..], &[0]].concat().into();
        let range = ScanRange { from, to: None };
        let page = table.scan(&write.partition, range, ScanOrder::Ascending, 100).await.unwrap();
        found.extend(page.rows.into_iter().map(|row| row.key));
        more = page.more;
    }
    assert_eq!(found, keys);
}

/// Rows and tombstones outlive the process.
pub async fn rows_survive_a_restart(subject: &mut dyn Subject) {
    let table = subject.store().table;
    write(&*table, put("p", 5, &[("a", "five"), ("b", "five")])).await;
    write(&*table, delete("p", 6, &["b"])).await;
    drop(table);
    subject.restart().await;
    let table = subject.store().table;
    write(&*table, put("p", 4, &[("a", "four"), ("b", "four")])).await;
    assert_eq!(value(&*table, "p", "a").await.as_deref(), Some("five"));
    assert_eq!(all_keys(&*table, "p").await, [text("a")]);
}
