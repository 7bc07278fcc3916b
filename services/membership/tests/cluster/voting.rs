//! Changes of the voters themselves.
