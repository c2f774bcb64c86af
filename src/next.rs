//! What people are told to do next.

/// A text that tells somebody what to do next, made like `format!`. The id names it for the tests: one
/// of them has to do what the text says (`// walks: the-id`), and tests/source.rs knows both.
macro_rules! next {
    // For a part of such a text, which somebody else completes.
    ($id:literal, as_is $text:literal) => {
        $text
    };
    ($id:literal, $($text:tt)+) => {
        format!($($text)+)
    };
}

pub(crate) use next;
