//! Signing in to editors: landing, cookie, who may what, and what strangers get.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use http::{Request, StatusCode};
use http_body_util::Full;
use openflow_route_api::{Engine, IdentityClaims, Role, Route, WebhookAccess, identity_key};
use support::{
    ADA, BOB, FakeManager, HOST, INSTANCE, MAGIC, Reply, TestProxy, Upstream, cookie, request,
    signed_route,
};
use uuid::Uuid;

type Body = Full<bytes::Bytes>;

struct Bed {
    upstream: Upstream,
    manager: FakeManager,
    proxy: TestProxy,
}

async fn bed() -> Bed {
    bed_with(|_| ()).await
}

async fn bed_with(change: impl FnOnce(&mut Route)) -> Bed {
    let upstream = Upstream::node_red().await;
    let mut route = signed_route(upstream.address);
    change(&mut route);
    let manager = FakeManager::with(vec![route]).await;
    let proxy = TestProxy::following(&manager).await;
    Bed {
        upstream,
        manager,
        proxy,
    }
}

impl Bed {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.proxy
            .send(with(request("GET", HOST, path), headers))
            .await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.proxy
            .send(with(request("POST", HOST, path), headers))
            .await
    }
}

fn with(mut builder: http::request::Builder, headers: &[(&str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from("body")).unwrap()
}

const HTML: (&str, &str) = ("accept", "text/html");

/// What the instance was told about who asks.
fn identity(upstream: &Upstream) -> Option<IdentityClaims> {
    let seen = upstream.last();
    let value = seen.header("x-openflow-identity")?;
    Some(IdentityClaims::verify(value, &identity_key(MAGIC), 0).unwrap())
}

#[tokio::test]
async fn landing_swaps_the_token_for_a_cookie_that_opens_the_editor() {
    let bed = bed().await;
    bed.manager.mint("T", ADA, "Ada");
    let reply = bed.get("/?x=1&access_token=T&y=2", &[HTML]).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(reply.header("location"), Some("/?x=1&y=2"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    let set = reply.header("set-cookie").unwrap();
    let (value, attributes) = set.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000"
    );
    assert_eq!(
        bed.upstream.seen().len(),
        0,
        "the token reaches no instance"
    );

    let cookies = format!("other=1; {value}; openflow_x=2");
    let reply = bed
        .get(
            "/",
            &[
                HTML,
                ("cookie", &cookies),
                ("authorization", "Bearer stale"),
            ],
        )
        .await;
    assert_eq!(reply.text(), "editor");
    let claims = identity(&bed.upstream).unwrap();
    assert_eq!(
        (claims.user_id, claims.role, claims.instance_id),
        (ADA, Role::Member, INSTANCE)
    );
    assert_eq!(claims.name, "Ada");
    let seen = bed.upstream.last();
    assert_eq!(seen.header("cookie"), Some("other=1"));
    assert_eq!(seen.header("authorization"), Some("Bearer stale"));
}

#[tokio::test]
async fn a_token_works_once_and_a_used_one_offers_to_launch_again() {
    let bed = bed().await;
    bed.manager.mint("T", ADA, "Ada");
    assert_eq!(
        bed.get("/?access_token=T", &[]).await.status,
        StatusCode::SEE_OTHER
    );
    for token in ["T", "unknown", ""] {
        let reply = bed
            .get(&format!("/a?b=1&access_token={token}"), &[HTML])
            .await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{token}");
        assert_eq!(reply.header("set-cookie"), None);
        let link = "http://example.com/launch/wf1?next=%2Fa%3Fb%3D1";
        assert!(reply.text().contains(link), "{}", reply.text());
        assert!(!reply.text().contains("access_token"));
    }
}

#[tokio::test]
async fn a_landing_names_no_other_host() {
    let bed = bed().await;
    for (number, path) in ["//evil.example.org/", "///evil.example.org"]
        .iter()
        .enumerate()
    {
        let token = format!("T{number}");
        bed.manager.mint(&token, ADA, "Ada");
        let reply = bed.get(&format!("{path}?access_token={token}"), &[]).await;
        let location = reply.header("location").unwrap();
        assert!(location.starts_with("/evil"), "{location}");
    }
}

#[tokio::test]
async fn another_person_s_session_is_not_replaced_silently() {
    let bed = bed().await;
    let ada = cookie(ADA, Uuid::new_v4());
    bed.manager.mint("T", BOB, "Bob <b>");
    let reply = bed.get("/?access_token=T", &[HTML, ("cookie", &ada)]).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert_eq!(reply.header("set-cookie"), None);
    assert!(reply.text().contains("Ada") && reply.text().contains("Bob &lt;b&gt;"));
    bed.manager.mint("U", ADA, "Ada");
    let same = bed.get("/?access_token=U", &[("cookie", &ada)]).await;
    assert_eq!(same.status, StatusCode::SEE_OTHER);

    let refused = bed
        .post(
            "/openflow/logout",
            &[("cookie", &ada), ("origin", "http://evil.example.com")],
        )
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let out = bed
        .post(
            "/openflow/logout",
            &[("cookie", &ada), ("origin", "http://wf1.example.com")],
        )
        .await;
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    // The editor's own menu is a link; a picture on another page is one, too.
    for (site, status) in [
        ("same-origin", 200),
        ("same-site", 403),
        ("cross-site", 403),
    ] {
        let headers = [("cookie", ada.as_str()), ("sec-fetch-site", site)];
        let reply = bed.get("/openflow/logout", &headers).await;
        assert_eq!(reply.status.as_u16(), status, "{site}");
    }
}

#[tokio::test]
async fn a_manager_that_is_away_denies_landing_but_not_the_signed_in() {
    let bed = bed().await;
    drop(bed.manager);
    let send = async |path: &str, cookie: &str| {
        let sent = request("GET", HOST, path)
            .header("cookie", cookie)
            .body(Body::default());
        bed.proxy.send(sent.unwrap()).await
    };
    let reply = send("/?access_token=T", "").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(
        send("/", &cookie(ADA, Uuid::new_v4())).await.text(),
        "editor"
    );
}

#[tokio::test]
async fn cookies_that_do_not_count() {
    let bed = bed().await;
    let good = cookie(ADA, Uuid::new_v4());
    let stranger = cookie(Uuid::from_u128(99), Uuid::new_v4());
    let forged = format!("{}x", &good[..good.len() - 1]);
    for bad in [
        &stranger,
        &forged,
        "openflow_token=",
        "openflow_token=a.b",
        &good.replace("openflow_token", "Openflow_token"),
    ] {
        let reply = bed.get("/", &[HTML, ("cookie", bad)]).await;
        assert_eq!(reply.status, StatusCode::FOUND, "{bad}");
    }
    let planted = format!("openflow_token=planted; openflow_token=a.b; {good}");
    assert_eq!(
        bed.get("/", &[HTML, ("cookie", &planted)]).await.text(),
        "editor"
    );
    let doubled = with(
        request("GET", HOST, "/").header("cookie", "openflow_token=planted"),
        &[("cookie", &good)],
    );
    assert_eq!(bed.proxy.send(doubled).await.text(), "editor");
}

#[tokio::test]
async fn the_role_is_the_table_s_and_a_revoked_session_is_dead() {
    let bed = bed().await;
    let session = Uuid::new_v4();
    let ada = cookie(ADA, session);
    let role = async || {
        bed.get("/", &[("cookie", &ada)]).await;
        identity(&bed.upstream).map(|claims| claims.role)
    };
    assert_eq!(role().await, Some(Role::Member));
    bed.manager.change_access(|access| {
        access.members.values_mut().for_each(|members| {
            members.insert(ADA, Role::Viewer);
        });
    });
    support::eventually(async || role().await == Some(Role::Viewer)).await;
    bed.manager.change_access(|access| {
        access.revoked_sessions.insert(session);
    });
    support::eventually(async || {
        bed.get("/", &[HTML, ("cookie", &ada)]).await.status == StatusCode::FOUND
    })
    .await;
}

#[tokio::test]
async fn strangers_are_sent_to_the_dashboard_and_never_reach_the_editor() {
    let bed = bed().await;
    let reply = bed.get("/", &[HTML]).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(
        reply.header("location"),
        Some("http://example.com/launch/wf1?next=%2F")
    );
    let alias = with(request("GET", "shop.example.com", "/flows?a=b&c"), &[HTML]);
    let reply = bed.proxy.send(alias).await;
    assert_eq!(
        reply.header("location"),
        Some("http://example.com/launch/shop?next=%2Fflows%3Fa%3Db%26c")
    );
    let reply = bed.get("/flows", &[]).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::UNAUTHORIZED, Some("application/problem+json"))
    );
    // Whoever mistyped a webhook's address reads it, too.
    assert!(reply.text().contains("check its address"));
    assert_eq!(
        bed.post("/flows", &[]).await.status,
        StatusCode::UNAUTHORIZED
    );
    for seen in bed.upstream.seen() {
        assert!(
            seen.path.starts_with("/api/"),
            "the editor saw {}",
            seen.path
        );
        assert_eq!(seen.header("x-openflow-identity"), None);
    }
}

#[tokio::test]
async fn webhooks_are_open_in_both_forms_and_told_nothing_of_the_person() {
    let bed = bed().await;
    let good = cookie(ADA, Uuid::new_v4());
    for path in ["/api/hook", "/hook"] {
        assert_eq!(bed.post(path, &[]).await.text(), "body", "{path}");
        assert_eq!(
            bed.post(path, &[("cookie", &good)]).await.text(),
            "body",
            "{path}"
        );
        let seen = bed.upstream.last();
        assert_eq!(seen.path, "/api/hook");
        assert_eq!(
            (seen.header("cookie"), seen.header("x-openflow-identity")),
            (None, None)
        );
    }
    let third_party = bed.get("/api/hook?access_token=theirs", &[]).await;
    assert_eq!(third_party.status, StatusCode::OK);
    assert_eq!(
        (bed.manager.redeemed(), bed.upstream.last().path.as_str()),
        (0, "/api/hook?access_token=theirs")
    );
    let health = bed.get("/openflow/health", &[("cookie", &good)]).await;
    assert_eq!(
        (health.status, bed.upstream.last().path.as_str()),
        (StatusCode::NOT_FOUND, "/openflow/health")
    );
}

#[tokio::test]
async fn protected_webhooks_ask_programs_for_credentials_and_people_to_sign_in() {
    let bed = bed_with(|route| {
        route.webhook_access = WebhookAccess::Basic;
        route.webhook_username = Some("ada".to_owned());
        route.webhook_secret_hash =
            Some("2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b".to_owned());
    })
    .await;
    for path in ["/api/hook", "/hook"] {
        let reply = bed.post(path, &[]).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            reply
                .header("www-authenticate")
                .unwrap()
                .starts_with("Basic"),
            "{path}"
        );
        // ada:secret
        assert_eq!(
            bed.post(path, &[("authorization", "Basic YWRhOnNlY3JldA==")])
                .await
                .text(),
            "body"
        );
        assert_eq!(bed.upstream.last().header("authorization"), None);
    }
    assert_eq!(bed.get("/flows", &[HTML]).await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_cookie_speaks_only_for_pages_of_its_own_host() {
    let bed = bed().await;
    let good = cookie(ADA, Uuid::new_v4());
    for headers in [
        ("origin", "http://wf2.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let reply = bed.post("/flows", &[("cookie", &good), headers]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(bed.upstream.seen().len(), 0);
    bed.post(
        "/flows",
        &[
            ("cookie", &good),
            ("origin", "http://wf1.example.com"),
            ("sec-fetch-site", "same-origin"),
        ],
    )
    .await;
    let seen = bed.upstream.seen();
    assert_eq!(
        (seen[0].path.as_str(), seen[1].path.as_str()),
        ("/flows", "/api/flows")
    );
    assert!(seen[0].header("x-openflow-identity").is_some());
    assert!(
        seen[1].header("x-openflow-identity").is_none(),
        "the replay tells nothing of the person"
    );
}

#[tokio::test]
async fn n8n_has_its_own_webhook_paths_and_hides_its_metrics() {
    let bed = bed_with(|route| route.engine = Engine::N8n).await;
    for path in ["/webhook/x", "/form-waiting/x", "/mcp/x"] {
        bed.post(path, &[]).await;
        assert_eq!(bed.upstream.last().path, path);
    }
    let before = bed.upstream.seen().len();
    assert_eq!(
        bed.post("/rest/login", &[]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(bed.get("/home", &[HTML]).await.status, StatusCode::FOUND);
    assert_eq!(
        bed.get("/api/hook", &[]).await.status,
        StatusCode::UNAUTHORIZED
    );
    let good = cookie(ADA, Uuid::new_v4());
    assert_eq!(
        bed.get("/metrics", &[("cookie", &good)]).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(bed.upstream.seen().len(), before);
}
