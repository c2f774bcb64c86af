//! What people and programs read about a run, compared as a whole: a change of a single space
//! shows here.

mod fixtures;
mod hostile;
mod json;
mod plan;
mod result;
