//! The layer itself: passes everything on to the VFS below, except that pages get their sums on the way down and are held
//! against them on the way up.

#![allow(unsafe_code, reason = "a VFS is a table of C functions, and SQLite takes no other")]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::{ptr, slice};

use rusqlite::{Connection, ffi};

use super::{Page, SUM_BYTES, is_intact, page_at, seal};

thread_local! {
    /// The page that did not match in the latest failed read of this thread. SQLite calls back on its caller's thread.
    static MISMATCH: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The page that made the latest call into SQLite on this thread fail, if one did; asking forgets it.
pub(crate) fn take_mismatch() -> Option<u64> {
    MISMATCH.take()
}

/// The name of the VFS that adds sums to pages on top of the one of this name (of SQLite's default, without one).
/// `None` if there is no such VFS.
pub(crate) fn vfs_over(below: Option<&str>) -> Option<String> {
    // There are one or two in a process, and SQLite never frees them.
    static MADE: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.get_or_insert_default();
    let below = below.unwrap_or_default();
    if let Some(name) = made.get(below) {
        return Some(name.clone());
    }
    let name = register(below)?;
    made.insert(below.to_owned(), name.clone());
    Some(name)
}

/// Has SQLite leave room for the sums in the pages of a file that has none yet.
pub(crate) fn reserve(connection: &Connection) -> rusqlite::Result<()> {
    let mut bytes = SUM_BYTES as c_int;
    // SAFETY: the handle is that of an open connection, and SQLite reads and writes one int.
    let code = unsafe {
        let argument = ptr::from_mut(&mut bytes).cast::<c_void>();
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), ffi::SQLITE_FCNTL_RESERVE_BYTES, argument)
    };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)) }
}

/// What SQLite sees as the main file: behind it in the same allocation lies that of the VFS below.
#[repr(C)]
struct SummedFile {
    base: ffi::sqlite3_file,
    /// How far behind the file below begins. Always this type's size; keeps that a multiple of 16.
    below: usize,
}

fn register(below: &str) -> Option<String> {
    let name = if below.is_empty() { "outlast-sums".to_owned() } else { format!("outlast-sums-{below}") };
    let c_name = CString::new(name.as_str()).ok()?;
    let c_below = CString::new(below).ok()?;
    // SAFETY: the copy of the VFS below differs in name, size, data and one function, and SQLite hands that function the
    // copy. The other functions of a VFS know their own data by themselves or get the copy of its pointer below. Both
    // are leaked, as SQLite demands.
    unsafe {
        let found = ffi::sqlite3_vfs_find(if below.is_empty() { ptr::null() } else { c_below.as_ptr() });
        if found.is_null() {
            return None;
        }
        let mut vfs = *found;
        vfs.zName = c_name.into_raw();
        vfs.szOsFile += size_of::<SummedFile>() as c_int;
        vfs.pNext = ptr::null_mut();
        vfs.xOpen = Some(open);
        let vfs = Box::leak(Box::new(Layer { vfs, below: found }));
        (ffi::sqlite3_vfs_register(&raw mut vfs.vfs, 0) == ffi::SQLITE_OK).then_some(name)
    }
}

/// A registered VFS, and the one below it.
#[repr(C)]
struct Layer {
    vfs: ffi::sqlite3_vfs,
    below: *mut ffi::sqlite3_vfs,
}

/// Opens the main file with the layer in between, and any other without.
///
/// # Safety
/// To be called by SQLite, with a VFS that `register` has made.
unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        let below = (*vfs.cast::<Layer>()).below;
        let Some(open_below) = (*below).xOpen else { return ffi::SQLITE_CANTOPEN };
        if flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
            return open_below(below, name, file, flags, out_flags);
        }
        let summed = file.cast::<SummedFile>();
        (*summed).below = size_of::<SummedFile>();
        (*file).pMethods = ptr::null();
        let code = open_below(below, name, under(file), flags, out_flags);
        if !(*under(file)).pMethods.is_null() {
            (*file).pMethods = &METHODS;
        }
        code
    }
}

/// The file below.
///
/// # Safety
/// `file` must be a main file that `open` was called with.
unsafe fn under(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    unsafe { file.cast::<SummedFile>().add(1).cast() }
}

/// # Safety
/// To be called by SQLite, with an open main file and room for `length` bytes.
unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, length: c_int, offset: i64) -> c_int {
    unsafe {
        let file = under(file);
        let Some(read_below) = (*(*file).pMethods).xRead else { return ffi::SQLITE_IOERR_READ };
        let code = read_below(file, to, length, offset);
        let Some(number) = page_at(offset, length.unsigned_abs() as usize) else { return code };
        let matches = match code {
            ffi::SQLITE_OK => is_intact(number, &*to.cast::<Page>()),
            // SQLite would take what is missing for zeros. It reads no page that was never written.
            ffi::SQLITE_IOERR_SHORT_READ => false,
            _ => return code,
        };
        if matches {
            return ffi::SQLITE_OK;
        }
        MISMATCH.set(Some(number));
        // Not an I/O error, at which SQLite would give the whole transaction up by itself.
        ffi::SQLITE_CORRUPT
    }
}

/// # Safety
/// To be called by SQLite, with an open main file and `length` bytes.
unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, length: c_int, offset: i64) -> c_int {
    unsafe {
        let file = under(file);
        let Some(write_below) = (*(*file).pMethods).xWrite else { return ffi::SQLITE_IOERR_WRITE };
        let content = slice::from_raw_parts(bytes.cast::<u8>(), length.unsigned_abs() as usize);
        match (page_at(offset, content.len()), <&Page>::try_from(content)) {
            (Some(number), Ok(page)) => {
                // A copy: what SQLite has in its cache is not ours to change.
                let mut page = *page;
                seal(number, &mut page);
                write_below(file, page.as_ptr().cast(), length, offset)
            }
            _ => write_below(file, bytes, length, offset),
        }
    }
}

/// No page is read past the sums.
///
/// # Safety
/// To be called by SQLite.
unsafe extern "C" fn fetch(_: *mut ffi::sqlite3_file, _: i64, _: c_int, to: *mut *mut c_void) -> c_int {
    unsafe { *to = ptr::null_mut() };
    ffi::SQLITE_OK
}

/// # Safety
/// To be called by SQLite.
unsafe extern "C" fn unfetch(_: *mut ffi::sqlite3_file, _: i64, _: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

/// # Safety
/// To be called by SQLite, with an open main file.
unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    unsafe {
        let file = under(file);
        if let Some(barrier) = (*(*file).pMethods).xShmBarrier {
            barrier(file);
        }
    }
}

/// Those of the file below, except that SQLite must not read parts of pages, which could not be held against their sums.
///
/// # Safety
/// To be called by SQLite, with an open main file.
unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    unsafe {
        let file = under(file);
        let below = (*(*file).pMethods).xDeviceCharacteristics.map_or(0, |characteristics| characteristics(file));
        below & !ffi::SQLITE_IOCAP_SUBPAGE_READ
    }
}

/// Functions that only pass the call on to the file below, with what SQLite gets should that lack it.
macro_rules! pass_on {
    ($($function:ident = $method:ident($($argument:ident: $kind:ty),*) else $lacking:ident;)*) => {
        $(
            /// # Safety
            /// To be called by SQLite, with an open main file.
            unsafe extern "C" fn $function(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) -> c_int {
                unsafe {
                    let file = under(file);
                    match (*(*file).pMethods).$method {
                        Some(function) => function(file $(, $argument)*),
                        None => ffi::$lacking,
                    }
                }
            }
        )*
    };
}

pass_on! {
    close = xClose() else SQLITE_OK;
    truncate = xTruncate(length: i64) else SQLITE_IOERR_TRUNCATE;
    sync = xSync(flags: c_int) else SQLITE_IOERR_FSYNC;
    file_size = xFileSize(size: *mut i64) else SQLITE_IOERR_FSTAT;
    lock = xLock(level: c_int) else SQLITE_IOERR_LOCK;
    unlock = xUnlock(level: c_int) else SQLITE_IOERR_UNLOCK;
    check_reserved_lock = xCheckReservedLock(is_held: *mut c_int) else SQLITE_IOERR_CHECKRESERVEDLOCK;
    file_control = xFileControl(operation: c_int, argument: *mut c_void) else SQLITE_NOTFOUND;
    sector_size = xSectorSize() else SQLITE_OK;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) else SQLITE_IOERR_SHMMAP;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) else SQLITE_IOERR_SHMLOCK;
    shm_unmap = xShmUnmap(delete: c_int) else SQLITE_OK;
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};
