//! What happens when nodes and leaders die.
