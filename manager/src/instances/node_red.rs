//! What the manager asks of a running Node-RED.
use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use crate::{kernel::Secret, stacks::templates::Module};

/// npm may take long on a small instance; it must not take for ever.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Installs a palette module through the admin API; one that is there already
/// is fine. Fails with the reason, for a person.
pub(super) async fn install(
    address: SocketAddr,
    magic: &Secret,
    module: &Module,
) -> Result<(), String> {
    let body = match &module.version {
        Some(version) => json!({"module": module.name, "version": version}),
        None => json!({"module": module.name}),
    };
    let request = Request::post(format!("http://{address}/nodes"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", magic.expose()))
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let ask = async {
        let response = client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        judge(status, &body.to_bytes())
    };
    tokio::time::timeout(INSTALL_TIMEOUT, ask)
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "npm was not done after {} s",
                INSTALL_TIMEOUT.as_secs()
            ))
        })
}

fn judge(status: StatusCode, body: &[u8]) -> Result<(), String> {
    if status.is_success() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if answer["code"] == "module_already_loaded" {
        return Ok(());
    }
    let message = answer["message"].as_str().unwrap_or("no reason given");
    Err(format!("{message} (status {})", status.as_u16()))
}
