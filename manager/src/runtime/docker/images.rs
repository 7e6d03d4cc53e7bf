use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt as _;

use super::{DockerRuntime, error::status};
use crate::runtime::{Error, Image};

impl DockerRuntime {
    pub(super) async fn local_image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let name = reference.to_owned();
        let inspected = self
            .query(|docker| async move { docker.inspect_image(&name).await })
            .await;
        match inspected {
            Err(error) if status(&error) == Some(404) => Ok(None),
            result => {
                let image = result?;
                let labels = image.config.and_then(|it| it.labels).unwrap_or_default();
                Ok(Some(Image {
                    id: image.id.unwrap_or_default(),
                    labels: labels.into_iter().collect(),
                }))
            }
        }
    }

    pub(super) async fn pull_image(&self, reference: &str) -> Result<(), Error> {
        let options = CreateImageOptionsBuilder::new().from_image(&with_tag(reference));
        let options = Some(options.build());
        let pulled = self.call(self.config.timeouts.pull, |docker| async move {
            let progress = docker.create_image(options, None, None);
            progress.try_for_each(|_| std::future::ready(Ok(()))).await
        });
        Ok(pulled.await?)
    }
}

/// Without a tag the engine would fetch every tag there is.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return reference.into();
    }
    format!("{reference}:latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reference_without_tag_and_digest_gets_one() {
        for (given, expected) in [
            ("node-red", "node-red:latest"),
            ("localhost:5000/node-red", "localhost:5000/node-red:latest"),
            ("a/b:5", "a/b:5"),
            ("a/b@sha256:12", "a/b@sha256:12"),
        ] {
            assert_eq!(with_tag(given), expected);
        }
    }
}
