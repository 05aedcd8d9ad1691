//! A WASI program, compiled once and run as often as one likes.

use std::path::Path;
use std::thread;
use std::time::Duration;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, EngineWeak, Module, Result};

/// How often a program that is metered by time lets its host look at the clock, and others run.
const TICK: Duration = Duration::from_millis(5);

/// What is compiled into a program so that it can be stopped. Each costs some speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metering {
    /// Count instructions, for [`Limits::fuel`](crate::Limits::fuel): the same each time, whatever the machine is doing.
    pub fuel: bool,
    /// Look at the host's clock now and then, for [`Limits::time`](crate::Limits::time). Without it a program that
    /// computes keeps its thread until it ends.
    pub time: bool,
}

/// A compiled command: a core module of WASI preview 1, or a component that exports `wasi:cli/run`. Clones are the same.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) engine: Engine,
    pub(crate) code: Code,
    pub(crate) metering: Metering,
}

#[derive(Clone, Debug)]
pub(crate) enum Code {
    Module(Module),
    Component(Component),
}

impl Program {
    /// Compiles the file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read, or is neither module nor component.
    pub fn load(path: impl AsRef<Path>, metering: Metering) -> Result<Program> {
        Program::compile(&std::fs::read(path)?, metering)
    }

    /// Compiles a binary: a module or a component.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn compile(binary: &[u8], metering: Metering) -> Result<Program> {
        let engine = engine(metering)?;
        // The header says which it is: the last two bytes are its layer, 1 for components.
        let code = if binary.get(6..8) == Some(&[1, 0]) {
            Code::Component(Component::from_binary(&engine, binary)?)
        } else {
            Code::Module(Module::from_binary(&engine, binary)?)
        };
        Ok(Program { engine, code, metering })
    }

    /// The compiled code as bytes, for [`from_precompiled`](Program::from_precompiled) of the same version of wasmtime
    /// and the same metering.
    ///
    /// # Errors
    /// Where wasmtime cannot write it.
    pub fn precompiled(&self) -> Result<Vec<u8>> {
        match &self.code {
            Code::Module(module) => module.serialize(),
            Code::Component(component) => component.serialize(),
        }
    }

    /// Takes code that was compiled before, in a fraction of the time that compiling takes.
    ///
    /// # Safety
    /// `code` must come from [`precompiled`](Program::precompiled), unchanged: it is run as it is.
    ///
    /// # Errors
    /// Where it was made by another version of wasmtime, or with another metering.
    pub unsafe fn from_precompiled(code: &[u8], metering: Metering) -> Result<Program> {
        let engine = engine(metering)?;
        let code = match Engine::detect_precompiled(code) {
            Some(wasmtime::Precompiled::Component) => {
                // SAFETY: the caller vouches for the bytes.
                Code::Component(unsafe { Component::deserialize(&engine, code) }?)
            }
            _ => {
                // SAFETY: the caller vouches for the bytes.
                Code::Module(unsafe { Module::deserialize(&engine, code) }?)
            }
        };
        Ok(Program { engine, code, metering })
    }
}

fn engine(metering: Metering) -> Result<Engine> {
    let mut config = Config::new();
    config.consume_fuel(metering.fuel).epoch_interruption(metering.time);
    let engine = Engine::new(&config)?;
    if metering.time {
        let weak = engine.weak();
        thread::Builder::new().name("halite-wasm-ticks".to_owned()).spawn(move || tick(&weak))?;
    }
    Ok(engine)
}

/// Ticks for as long as the engine is there.
fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
    }
}
