//! Log, clock, timer, metrics, shared data.

use wasmtime::{Linker, Result};

use super::{
    CAS_MISMATCH, Guest, NOT_FOUND, OK,
    memory::{give, read, write},
};
use crate::envoy::Envoy;

pub(super) fn link(linker: &mut Linker<Envoy>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut guest: Guest<'_>, level: u32, text: u32, size: u32| {
            let text = String::from_utf8_lossy(&read(&mut guest, text, size)?).into_owned();
            guest.data_mut().log(level, text);
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |mut guest: Guest<'_>, time: u32| {
            let now = guest.data().nanoseconds;
            write(&mut guest, time, &now.to_le_bytes())?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |mut guest: Guest<'_>, period: u32| {
            guest.data_mut().tick_period = period;
            OK
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut guest: Guest<'_>, _kind: u32, name: u32, size: u32, id: u32| {
            let name = String::from_utf8_lossy(&read(&mut guest, name, size)?).into_owned();
            let metric = u32::try_from(guest.data_mut().metric(name))?;
            write(&mut guest, id, &metric.to_le_bytes())?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_increment_metric",
        |mut guest: Guest<'_>, id: u32, offset: i64| {
            on_metric(&mut guest, id, |value| value.saturating_add_signed(offset))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_record_metric",
        |mut guest: Guest<'_>, id: u32, value: u64| on_metric(&mut guest, id, |_| value),
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut guest: Guest<'_>, key: u32, key_size: u32, data: u32, size: u32, cas: u32| {
            let key = read(&mut guest, key, key_size)?;
            let Some((value, version)) = guest.data().shared_data.get(&key).cloned() else {
                return Ok(NOT_FOUND);
            };
            write(&mut guest, cas, &version.to_le_bytes())?;
            give(&mut guest, &value, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut guest: Guest<'_>, key: u32, key_size: u32, data: u32, size: u32, cas: u32| {
            let key = read(&mut guest, key, key_size)?;
            let value = read(&mut guest, data, size)?;
            let shared = guest.data_mut().shared_data.entry(key).or_default();
            if cas != 0 && cas != shared.1 {
                return Ok(CAS_MISMATCH);
            }
            *shared = (value, shared.1 + 1);
            Ok(OK)
        },
    )?;
    Ok(())
}

fn on_metric(guest: &mut Guest<'_>, id: u32, change: impl FnOnce(u64) -> u64) -> u32 {
    let metric = usize::try_from(id).ok().and_then(|id| guest.data_mut().metrics.get_mut(id));
    metric.map_or(NOT_FOUND, |(_, value)| {
        *value = change(*value);
        OK
    })
}
