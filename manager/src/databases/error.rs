#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "There is no PostgreSQL server for instances. Name one with OPENFLOW_INSTANCE_DATABASE_URL and restart Openflow."
    )]
    NoServer,
    /// Words of the driver or of the server.
    #[error("The PostgreSQL server for instances ({server}) {why}")]
    Server { server: String, why: String },
}
