use std::sync::Arc;

use super::{content::Content, holdings::Holdings, hosts::Hosts};

/// All that answers are made from. Never changed: a new one takes its place, part by part.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What there is.
    pub content: Arc<Content>,
    /// Who holds what.
    pub holdings: Arc<Holdings>,
    /// Who could serve.
    pub hosts: Arc<Hosts>,
}
