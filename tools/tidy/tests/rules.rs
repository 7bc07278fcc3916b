//! The repository keeps to its own rules: sizes, names and words.

use tidy::{Rule, findings, sizes};

#[track_caller]
fn holds(rule: Rule) {
    let found: Vec<_> =
        findings().expect("git, cargo and the sources can be read").into_iter().filter(|f| f.rule == rule).collect();
    assert!(found.is_empty(), "{} found:{}", found.len(), found.iter().map(|f| format!("\n  {f}")).collect::<String>());
}

#[test]
fn files_do_not_grow_beyond_800_lines() {
    for long in sizes().expect("the sources can be read").iter().filter(|size| size.is_long()) {
        println!("long: {long}");
    }
    holds(Rule::FileLength);
}

#[test]
fn functions_do_not_grow_beyond_70_lines() {
    holds(Rule::FunctionLength);
}

#[test]
fn unwrap_stays_in_tests() {
    holds(Rule::Unwrap);
}

#[test]
fn names_say_what_a_thing_is() {
    holds(Rule::Name);
}

#[test]
fn every_file_says_first_what_it_is() {
    holds(Rule::ModuleDoc);
}

#[test]
fn pure_code_asks_nothing() {
    holds(Rule::Pure);
}

#[test]
fn documents_point_at_what_exists() {
    holds(Rule::Link);
}

#[test]
fn nothing_unfinished_skipped_or_of_one_machine_is_committed() {
    holds(Rule::Word);
}
