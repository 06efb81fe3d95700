//! Captured dialogues.
