//! Backends that are tasks of a Marathon's apps.
//!
//! [`follow`] asks every so often for each app; [`members`] finds one of Marathon's members that
//! answers, and shows what [`login`] got for the principal's [`secret`], where there is one; [`app`]
//! makes backends of what it says.

mod secret;
mod login;
mod members;
mod app;
mod follow;

pub(crate) use self::follow::follow;
