//! One run of a program: what it is given, and what it comes to.
//!
//! # After a kill
//! A run that is out of fuel, time or memory, that traps, or whose future is dropped, stops where it is; nothing of it
//! runs on. Its file calls that were under way are done, so its files hold what a process killed there would have left.

use crate::limits::{Limits, Memory};
use crate::plugin::{self, Guest, HaliteView, View};
use crate::program::{Code, Program};
use std::path::Path;
use tokio::io::AsyncRead;
use wasmtime::{Result, Store, Trap, bail};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, WasiView};

/// What a program may do in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read, write, create and delete.
    ReadWrite,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exit(i32),
    /// Its fuel was used up.
    OutOfFuel,
    /// Its time was up.
    OutOfTime,
    /// It gave up after it was refused memory.
    OutOfMemory,
    /// It did what no program may, or printed too much; this says what.
    Trap(String),
}

impl End {
    /// Whether it was by itself, with exit code 0.
    pub fn is_success(&self) -> bool {
        *self == End::Exit(0)
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Its standard output, with what is no UTF-8 replaced.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// Instructions that it used, where they are counted.
    pub fuel: u64,
    /// Linear memory that it had in the end, in bytes.
    pub memory_bytes: usize,
}

/// What a run has printed so far. Clones show the same.
#[derive(Clone, Debug)]
pub struct Output(MemoryOutputPipe);

impl Output {
    fn new(bytes_max: usize) -> Output {
        Output(MemoryOutputPipe::new(bytes_max))
    }

    /// All of it until now, with what is no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.contents()).into_owned()
    }
}

/// A program about to run. It sees what it is given here, and nothing else of the host but clocks and random numbers.
#[derive(Debug)]
pub struct Run<'a> {
    program: &'a Program,
    context: Context,
    limits: Limits,
    guest: Option<Guest>,
    out: Output,
    err: Output,
}

/// wasmtime's, which has no `Debug`.
struct Context(WasiCtxBuilder);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

struct State {
    context: WasiP1Ctx,
    memory: Memory,
    guest: Guest,
}

impl HaliteView for State {
    fn halite(&mut self) -> View<'_> {
        View { guest: &self.guest, table: self.context.ctx().table }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> wasmtime_wasi::WasiCtxView<'_> {
        self.context.ctx()
    }
}

impl<'a> Run<'a> {
    /// A run with no arguments, no input and no folder.
    pub fn new(program: &'a Program) -> Run<'a> {
        let limits = Limits::default();
        let mut context = WasiCtxBuilder::new();
        // File calls on this thread: much quicker than handing each to another one. Folders take it over when they are
        // given, so it comes first.
        context.allow_blocking_current_thread(true);
        let (out, err) = (Output::new(limits.output_bytes), Output::new(limits.output_bytes));
        Run { program, context: Context(context), limits, guest: None, out, err }
    }

    /// Its arguments, the first of which is its own name.
    #[must_use]
    pub fn args<A: AsRef<str>>(mut self, args: impl IntoIterator<Item = A>) -> Run<'a> {
        for arg in args {
            self.context.0.arg(arg);
        }
        self
    }

    /// A variable of its environment, which is empty else.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Run<'a> {
        self.context.0.env(name, value);
        self
    }

    /// The folder `host` of ours, which it sees as `guest`.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn folder(mut self, host: impl AsRef<Path>, guest: &str, access: Access) -> Result<Run<'a>> {
        let access = match access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        self.context.0.preopened_dir(host, guest, access)?;
        Ok(self)
    }

    /// All of its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Run<'a> {
        self.context.0.stdin(MemoryInputPipe::new(bytes.into()));
        self
    }

    /// Its standard input, as it comes.
    #[must_use]
    pub fn stdin(mut self, reader: impl AsyncRead + Send + Sync + 'static) -> Run<'a> {
        self.context.0.stdin(wasmtime_wasi::cli::AsyncStdinStream::new(reader));
        self
    }

    /// Buckets and storage, through the interfaces of the [plugin], if it is a component; without them, it must not ask for
    /// any.
    #[must_use]
    pub fn guest(mut self, guest: Guest) -> Run<'a> {
        self.guest = Some(guest);
        self
    }

    /// What it may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Run<'a> {
        self.limits = limits;
        (self.out, self.err) = (Output::new(limits.output_bytes), Output::new(limits.output_bytes));
        self
    }

    /// Its standard output, to be read while it runs. Of a run whose [limits](Run::limits) are set by now.
    pub fn out(&self) -> Output {
        self.out.clone()
    }

    /// Runs it to its end.
    ///
    /// It blocks this thread in its file calls, and where it computes, unless its program is
    /// [metered by time](crate::Metering::time): then it lets others run every few milliseconds.
    ///
    /// # Errors
    /// Where it cannot be started: it asks for something that is not there, or a limit asks for a metering that its
    /// program lacks. What happens once it runs is no error here, but an [`End`].
    ///
    /// # Cancel safety
    /// Dropping the future kills it.
    pub async fn finish(mut self) -> Result<Outcome> {
        let context = &mut self.context.0;
        let context = context.stdout(self.out.0.clone()).stderr(self.err.0.clone()).build_p1();
        let plugged = self.guest.is_some();
        let guest = self.guest.unwrap_or_else(|| Guest::new(halite_bucket::Buckets::new()));
        let mut state = State { context, memory: Memory::new(self.limits.memory_bytes), guest };
        state.context.ctx().table.set_max_capacity(self.limits.handles);
        let mut store = Store::new(&self.program.engine, state);
        store.limiter(|state| &mut state.memory);
        let fuel = match (self.program.metering.fuel, self.limits.fuel) {
            (false, Some(_)) => bail!("the program was not compiled with fuel"),
            (metered, fuel) => fuel.or(metered.then_some(u64::MAX)),
        };
        if let Some(fuel) = fuel {
            store.set_fuel(fuel)?;
        }
        if self.program.metering.time {
            store.epoch_deadline_async_yield_and_update(1);
        }
        let run = start(self.program, &mut store, plugged);
        let end = match self.limits.time {
            Some(time) => tokio::time::timeout(time, run).await.ok(),
            None => Some(run.await),
        };
        let end = end.map_or(Ok(End::OutOfTime), |run| judge(run, store.data().memory.refused))?;
        let fuel = fuel.map_or(Ok(0), |fuel| store.get_fuel().map(|left| fuel - left))?;
        let memory_bytes = store.data().memory.bytes;
        Ok(Outcome { end, out: self.out.text(), err: self.err.text(), fuel, memory_bytes })
    }
}

/// Why a run did not end well.
enum Stopped {
    /// It never began.
    Unstarted(wasmtime::Error),
    Running(wasmtime::Error),
}

async fn start(program: &Program, store: &mut Store<State>, plugged: bool) -> Result<(), Stopped> {
    match &program.code {
        Code::Module(module) => {
            let mut linker = wasmtime::Linker::new(&program.engine);
            p1::add_to_linker_async(&mut linker, |state: &mut State| &mut state.context).map_err(Stopped::Unstarted)?;
            // A module's `start` function may run out of something too: it counts as running.
            let instance = linker.instantiate_pre(module).map_err(Stopped::Unstarted)?;
            let instance = instance.instantiate_async(&mut *store).await.map_err(Stopped::Running)?;
            let run = instance.get_typed_func::<(), ()>(&mut *store, "_start").map_err(Stopped::Unstarted)?;
            run.call_async(store, ()).await.map_err(Stopped::Running)
        }
        Code::Component(component) => {
            let mut linker = wasmtime::component::Linker::new(&program.engine);
            p2::add_to_linker_async(&mut linker).map_err(Stopped::Unstarted)?;
            if plugged {
                plugin::add_to_linker(&mut linker).map_err(Stopped::Unstarted)?;
            }
            let command = linker.instantiate_pre(component).map_err(Stopped::Unstarted)?;
            let command = p2::bindings::CommandPre::new(command).map_err(Stopped::Unstarted)?;
            let command = command.instantiate_async(&mut *store).await.map_err(Stopped::Running)?;
            let done = command.wasi_cli_run().call_run(store).await.map_err(Stopped::Running)?;
            done.map_err(|()| Stopped::Running(I32Exit(1).into()))
        }
    }
}

fn judge(run: Result<(), Stopped>, memory_was_refused: bool) -> Result<End> {
    let error = match run {
        Ok(()) => return Ok(End::Exit(0)),
        Err(Stopped::Unstarted(error)) => return Err(error),
        Err(Stopped::Running(error)) => error,
    };
    Ok(if let Some(exit) = error.downcast_ref::<I32Exit>() {
        End::Exit(exit.0)
    } else if error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel) {
        End::OutOfFuel
    } else if memory_was_refused {
        End::OutOfMemory
    } else {
        End::Trap(format!("{error:?}"))
    })
}
