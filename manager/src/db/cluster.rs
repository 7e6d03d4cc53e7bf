//! The private PostgreSQL cluster under `data/postgres/`.
