//! Carries out an approved plan.

pub mod monitor;
