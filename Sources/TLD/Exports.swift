// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The C entry points: they check that the library may run, delegate, and translate
// errors. tld.h documents them.

import CTLD
import Synchronization

/// The rooms of this process.
struct Runtime {
  let keys: KeyTable
  let registry: ThreadRegistry<Linux>
  let lifecycle: Lifecycle

  static var shared: Runtime {
    let keys = KeyTable(
      state: room(CTLD_KEY_TABLE),
      announced: ctld_meta_p_address().assumingMemoryBound(to: Atomic<UnsafeMutableRawPointer?>.self),
      pageSize: ByteCount(ctld_page_size()))
    return Runtime(
      keys: keys,
      registry: ThreadRegistry(state: room(CTLD_THREAD_REGISTRY), keys: keys, kernel: Linux()),
      lifecycle: Lifecycle(state: room(CTLD_LIFECYCLE)))
  }

  private static func room<State: ~Copyable>(_ room: Int) -> UnsafeMutablePointer<State> {
    ctld_state(Int32(room)).assumingMemoryBound(to: State.self)
  }
}

extension CallingThread {
  static var current: CallingThread {
    CallingThread(shared: ctld_self(), record: ctld_thread_record())
  }
}

/// One call into the library that takes locks: not from a signal handler that
/// interrupted another one in the same thread, not cancelled midway, and errno as it
/// was unless it fails.
struct Call: ~Copyable {
  private static let busy: UInt16 = 1

  let thread: CallingThread
  let runtime: Runtime
  private let errno: Int32
  private let cancellation: Int32

  static func isUnderWay(_ thread: UnsafeMutablePointer<tld_thread>) -> Bool {
    thread.pointee.flags & busy != 0
  }

  init?() {
    thread = .current
    guard !Self.isUnderWay(thread.shared) else { return nil }
    runtime = .shared
    errno = ctld_errno()
    cancellation = ctld_defer_cancellation()
    thread.shared.pointee.flags |= Self.busy
    ctld_signal_fence()
  }

  consuming func end(failing error: Errno? = nil) {
    ctld_signal_fence()
    thread.shared.pointee.flags &= ~Self.busy
    ctld_set_errno(error?.code ?? errno)
    ctld_restore_cancellation(cancellation)
  }
}

extension tld_key_t {
  fileprivate init(_ offset: ByteCount) { self.init(off: Int16(offset)) }
  fileprivate init(_ error: Errno) { self.init(off: Int16(-error.code)) }
}

@_cdecl("tld_create_key")
public func createKey(_ name: UnsafePointer<CChar>?, _ size: Int) -> tld_key_t {
  createKey(name, size, Int(TLD_DYN_DATA_SIZE), 0)
}

@_cdecl("tld_create_key_opt")
public func createKey(_ name: UnsafePointer<CChar>?, _ size: Int, _ budget: Int, _ flags: UInt32) -> tld_key_t {
  guard flags & ~TLD_KEY_STATIC == 0 else { return tld_key_t(Errno(EINVAL)) }
  guard let call = Call() else { return tld_key_t(Errno(EAGAIN)) }
  let key: tld_key_t
  do throws(Errno) {
    try call.runtime.lifecycle.prepare()
    key = tld_key_t(try call.runtime.keys.create(name, size: size, budget: budget,
                                                 flags & TLD_KEY_STATIC != 0 ? .static : .dynamic))
  } catch {
    key = tld_key_t(error)
  }
  call.end()
  return key
}

@_cdecl("tld_find_key")
public func findKey(_ name: UnsafePointer<CChar>?) -> tld_key_t {
  do { return tld_key_t(try Runtime.shared.keys.find(name)) } catch { return tld_key_t(error) }
}

@_cdecl("tld_key_is_err")
public func keyIsError(_ key: tld_key_t) -> Bool { key.off < 0 }

@_cdecl("tld_key_err_or_zero")
public func keyErrorOrZero(_ key: tld_key_t) -> Int32 { min(0, Int32(key.off)) }

@_cdecl("tld_get_data")
public func getData(_ map: Int32, _ key: tld_key_t) -> UnsafeMutableRawPointer? {
  let thread = ctld_self()!
  if UInt16(bitPattern: key.off) < thread.pointee.limit && map == thread.pointee.map_fd {
    return UnsafeMutableRawPointer(thread.pointee.base! + Int(key.off))
  }
  return getDataSlow(map, key)
}

@_cdecl("tld_get_data_slow")
public func getDataSlow(_ map: Int32, _ key: tld_key_t) -> UnsafeMutableRawPointer? {
  guard let call = Call() else {
    ctld_set_errno(EAGAIN)
    return nil
  }
  do throws(Errno) {
    let entry = try call.runtime.keys.entry(at: ByteCount(key.off))
    let isNew = try call.runtime.registry.enter(entry, through: FileDescriptor(number: map), call.thread)
    if isNew {
      do throws(Errno) { try call.runtime.lifecycle.watchCallingThread() } catch {
        call.runtime.registry.leave(call.thread)
        throw error
      }
    }
    let data = UnsafeMutableRawPointer(call.thread.shared.pointee.base! + entry.offset)
    call.end()
    return data
  } catch {
    call.end(failing: error)
    return nil
  }
}

@_cdecl("tld_free")
public func free() {
  guard let call = Call() else { return }
  call.runtime.registry.withdrawAndClear(call.thread)
  call.end()
}

@_cdecl("tld_version")
public func version() -> UnsafePointer<CChar> { ctld_version() }
