//! The least that an axum server can do with the hook's body: the peer of
//! `POST /mqtt/auth` in `bench/mqtt.mjs`. Listens on the given address.
use axum::{Json, Router, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Body {
    username: String,
    password: String,
    clientid: String,
}

async fn auth(Json(body): Json<Body>) -> Json<Value> {
    let known = !body.username.is_empty() && !body.password.is_empty();
    if !known || body.clientid.is_empty() {
        return Json(json!({"result": "deny"}));
    }
    let tenant = "ff/00000000-0000-0000-0000-000000000000/";
    Json(json!({"result": "allow", "is_superuser": false, "client_attrs": {"tenant": tenant}}))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, Router::new().route("/mqtt/auth", post(auth))).await?)
}
