//! A progress bar on standard error, where that is a terminal.

#[cfg(not(target_family = "wasm"))]
pub(crate) use bar::Progress;
#[cfg(target_family = "wasm")]
pub(crate) use none::Progress;

#[cfg(not(target_family = "wasm"))]
mod bar {
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

    /// How far something has come.
    #[derive(Debug)]
    pub(crate) struct Progress(ProgressBar);

    impl Progress {
        /// Of `total` bytes where that is known. Hidden unless standard error is a terminal.
        pub(crate) fn new(total: Option<u64>, hidden: bool) -> Progress {
            let template = match total {
                Some(_) => "{bar:30} {percent}% of {total_bytes}, {msg}, {eta} left",
                None => "{spinner} {bytes}, {msg}, {elapsed}",
            };
            Progress::with(template, total, hidden)
        }

        /// Of `total` records. Hidden unless standard error is a terminal.
        pub(crate) fn of_records(total: u64, hidden: bool) -> Progress {
            Progress::with("{bar:30} {percent}%, {msg}, {eta} left", Some(total), hidden)
        }

        fn with(template: &str, total: Option<u64>, hidden: bool) -> Progress {
            let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(total, target);
            Progress(bar.with_style(style).with_finish(ProgressFinish::AndClear))
        }

        /// So many bytes and records in all by now.
        pub(crate) fn at(&self, bytes: u64, records: u64) {
            self.0.set_message(format!("{} records", crate::text::count(records)));
            self.0.set_position(bytes);
        }

        /// Takes the bar away. Dropped without, it goes as well.
        pub(crate) fn end(self) {
            self.0.finish_and_clear();
        }
    }
}

#[cfg(target_family = "wasm")]
mod none {
    /// Shows nothing.
    #[derive(Debug)]
    pub(crate) struct Progress;

    impl Progress {
        pub(crate) fn new(_total: Option<u64>, _hidden: bool) -> Progress {
            Progress
        }

        pub(crate) fn of_records(_total: u64, _hidden: bool) -> Progress {
            Progress
        }

        pub(crate) fn at(&self, _bytes: u64, _records: u64) {}

        pub(crate) fn end(self) {}
    }
}
