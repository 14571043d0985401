//! Backends that are pods of a Kubernetes cluster.
//!
//! [`surroundings`] finds out where the [`cluster`] is and who we are there, in a pod or by a
//! [`kubeconfig`]. [`api`] asks it for one kind of [`resource`], a list and then what changes
//! ([`lines`]); [`object`] reads what it answers, [`store`] keeps it as the server has it, and
//! [`choice`] makes backends of it. [`follow`] is the round of it all.
//!
//! By hand: there are three endpoints and a watch.

mod cluster;
mod kubeconfig;
mod surroundings;
mod resource;
mod object;
mod store;
mod choice;
mod lines;
mod api;
mod follow;

pub(crate) use self::follow::follow;
