use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use super::DockerRuntime;
use crate::{kernel::InstanceId, runtime::Error};

/// A longer line is cut into several. The engine itself cuts at 16 KiB and
/// leaves out the line feeds there.
const LINE_BYTES_MAX: usize = 64 << 10;

impl DockerRuntime {
    pub(super) async fn container_logs(
        &self,
        id: InstanceId,
        tail: u32,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let (container, _) = self.existing(id).await?;
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&tail.to_string())
            .follow(follow)
            .build();
        let client = self.query(|docker| std::future::ready(Ok(docker))).await?;
        let frames = client.logs(&container, Some(options)).map(Some);
        // A `None` behind the last frame flushes what had no line feed.
        let frames = frames.chain(stream::iter([None]));
        let lines = frames.scan(Lines::default(), |lines, frame| {
            let out = match frame {
                Some(Ok(frame)) => lines.push(frame).into_iter().map(Ok).collect(),
                Some(Err(error)) => vec![Err(error.into())],
                None => lines.finish().into_iter().map(Ok).collect(),
            };
            std::future::ready(Some(stream::iter(out)))
        });
        Ok(lines.flatten().boxed())
    }
}

/// Puts whole lines together, of standard output and error each.
#[derive(Default)]
struct Lines {
    partial: [BytesMut; 2],
}

impl Lines {
    fn push(&mut self, frame: LogOutput) -> Vec<Bytes> {
        let (partial, message) = match frame {
            LogOutput::StdErr { message } => (&mut self.partial[1], message),
            LogOutput::Console { message } if message.first() == Some(&3) => {
                // The engine's own complaint, with the frame's head on it.
                (&mut self.partial[1], message.slice(message.len().min(8)..))
            }
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => (&mut self.partial[0], message),
        };
        let mut lines = Vec::new();
        for part in message.split_inclusive(|it| *it == b'\n') {
            partial.extend_from_slice(part);
            while partial.len() > LINE_BYTES_MAX {
                let mut line = partial.split_to(LINE_BYTES_MAX);
                line.extend_from_slice(b"\n");
                lines.push(line.freeze());
            }
            if partial.ends_with(b"\n") {
                lines.push(partial.split().freeze());
            }
        }
        lines
    }

    fn finish(&mut self) -> Vec<Bytes> {
        let partial = self.partial.iter_mut().filter(|it| !it.is_empty());
        partial
            .map(|it| {
                it.extend_from_slice(b"\n");
                it.split().freeze()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &'static str) -> LogOutput {
        LogOutput::StdOut {
            message: text.into(),
        }
    }

    #[test]
    fn frames_become_whole_lines_of_either_stream() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(out("one\ntw")), ["one\n"]);
        let error = LogOutput::StdErr {
            message: "oops\n".into(),
        };
        assert_eq!(lines.push(error), ["oops\n"]);
        assert_eq!(lines.push(out("o\n\n")), ["two\n", "\n"]);
        assert!(lines.push(out("rest")).is_empty());
        assert_eq!(lines.finish(), ["rest\n"]);
        assert!(lines.finish().is_empty());
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut lines = Lines::default();
        let chunk = || LogOutput::StdOut {
            message: vec![b'x'; LINE_BYTES_MAX - 1].into(),
        };
        assert!(lines.push(chunk()).is_empty());
        let cut = lines.push(chunk());
        assert_eq!(cut.len(), 1);
        assert_eq!(cut[0].len(), LINE_BYTES_MAX + 1);
        assert!(cut[0].ends_with(b"x\n"));
    }
}
