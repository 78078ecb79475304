//! Falco's rules.
//!
//! Modules in the order a rule file passes them: a [`text`] that knows its places, through the [`grammar`], is a
//! tree of [`condition`]s. A mistake in it is a [`problem`].

pub mod condition;
pub mod grammar;
pub mod problem;
pub mod text;
pub mod yaml;
