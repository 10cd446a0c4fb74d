//! The public keys of a node: what a policy that trusts it has to name.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use tally_core::receipt::key_id;
use utoipa::ToSchema;

use super::describe::Refusals;
use crate::node::ServerNode;

/// The public keys of a node, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeKeyList {
    /// The key that signs receipts.
    pub issuer: IssuerKey,
    /// The log's verifier key, as C2SP signed-note has it; its name is the log's origin.
    pub log: String,
    /// Verifier keys of the cosigners that the operator runs itself.
    pub own_cosigners: Vec<String>,
}

/// A key that signs receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuerKey {
    /// The Ed25519 public key: 64 hexadecimal digits.
    pub public_key: String,
    /// How receipts name it: 64 hexadecimal digits.
    pub key_id: String,
}

impl NodeKeyList {
    /// The list of a node's keys.
    #[must_use]
    pub fn new(issuer: &[u8; 32], log: String, own_cosigners: Vec<String>) -> Self {
        let issuer =
            IssuerKey { public_key: hex::encode(issuer), key_id: key_id(issuer).to_string() };
        Self { issuer, log, own_cosigners }
    }
}

/// The keys that a policy has to name to trust this node.
/// Show the node's public keys: its own word, to be compared with what its operator says elsewhere.
#[utoipa::path(get, path = "/v1/keys", tag = "receipts",
    responses((status = 200, description = "The keys", body = NodeKeyList), Refusals))]
pub(super) async fn keys(State(node): State<Arc<ServerNode>>) -> Response {
    super::json(200, serde_json::to_vec(&node.keys).unwrap_or_default())
}
