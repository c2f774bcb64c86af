//! Everything that people see and answer: tables, questions, the live display.
