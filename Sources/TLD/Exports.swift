// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The C entry points: they check that the library may run, delegate, and translate
// errors. tld.h documents them. `@implementation` has the compiler compare each with its
// declaration there, which it finds by the function's name; Swift 6.2 cannot.

import CTLD
import Synchronization

/// The components of this process.
struct Runtime {
  let keys: KeyTable
  let registry: ThreadRegistry<Linux>
  let followedPaths: FollowedPaths<Linux>
  let lifecycle: Lifecycle

  static var shared: Runtime {
    let keys = KeyTable(
      state: state(of: CTLD_KEY_TABLE),
      announced: ctld_meta_p_address().assumingMemoryBound(to: Atomic<UnsafeMutableRawPointer?>.self),
      pageSize: ByteCount(ctld_page_size()))
    let registry = ThreadRegistry(state: state(of: CTLD_THREAD_REGISTRY), keys: keys, kernel: Linux())
    return Runtime(
      keys: keys,
      registry: registry,
      followedPaths: FollowedPaths(state: state(of: CTLD_FOLLOWED_PATHS), registry: registry),
      lifecycle: Lifecycle(state: state(of: CTLD_LIFECYCLE)))
  }

  private static func state<State: ~Copyable>(of component: Int) -> UnsafeMutablePointer<State> {
    ctld_state(Int32(component)).assumingMemoryBound(to: State.self)
  }
}

extension tld_key_t {
  fileprivate init(_ offset: ByteCount) { self.init(off: Int16(offset)) }
  fileprivate init(_ error: Errno) { self.init(off: Int16(-error.code)) }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_create_key")
public func tld_create_key(_ name: UnsafePointer<CChar>?, _ size: Int) -> tld_key_t {
  tld_create_key_opt(name, size, Int(TLD_DYN_DATA_SIZE), 0)
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_create_key_opt")
public func tld_create_key_opt(_ name: UnsafePointer<CChar>?, _ size: Int, _ budget: Int, _ flags: UInt32) -> tld_key_t {
  guard flags & ~TLD_KEY_STATIC == 0 else { return tld_key_t(Errno(EINVAL)) }
  guard let call = CallGuard(inLentMemory: true) else { return tld_key_t(Errno(EAGAIN)) }
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

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_find_key")
public func tld_find_key(_ name: UnsafePointer<CChar>?) -> tld_key_t {
  do { return tld_key_t(try Runtime.shared.keys.find(name)) } catch { return tld_key_t(error) }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_key_is_err")
public func tld_key_is_err(_ key: tld_key_t) -> Bool { key.off < 0 }

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_key_err_or_zero")
public func tld_key_err_or_zero(_ key: tld_key_t) -> Int32 { min(0, Int32(key.off)) }

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_get_data")
@inline(__always)
public func tld_get_data(_ map: Int32, _ key: tld_key_t) -> UnsafeMutableRawPointer? {
  let thread = ctld_self().unsafelyUnwrapped
  if UInt16(bitPattern: key.off) < thread.pointee.limit && map == thread.pointee.map_fd {
    return UnsafeMutableRawPointer(thread.pointee.base.unsafelyUnwrapped + Int(key.off))
  }
  return tld_get_data_slow(map, key)
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_get")
@inline(__always)
public func tld_get(_ key: tld_key_t) -> UnsafeMutableRawPointer? {
  let thread = ctld_self().unsafelyUnwrapped
  if UInt16(bitPattern: key.off) < thread.pointee.limit {
    return UnsafeMutableRawPointer(thread.pointee.base.unsafelyUnwrapped + Int(key.off))
  }
  return tld_get_slow(key)
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_get_data_slow")
public func tld_get_data_slow(_ map: Int32, _ key: tld_key_t) -> UnsafeMutableRawPointer? {
  fetch { call throws(Errno) in
    let entry = try call.runtime.keys.entry(at: ByteCount(key.off))
    try call.watchThreadEnd(ifNew: try call.runtime.registry.publishCaller(call.thread, in: FileDescriptor(number: map), for: entry))
    return UnsafeMutableRawPointer(call.thread.shared.pointee.base! + entry.offset)
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_get_slow")
public func tld_get_slow(_ key: tld_key_t) -> UnsafeMutableRawPointer? {
  fetch { call throws(Errno) in
    let entry = try call.runtime.keys.entry(at: ByteCount(key.off))
    try call.watchThreadEnd(ifNew: try call.runtime.registry.publishCaller(call.thread, for: entry))
    return UnsafeMutableRawPointer(call.thread.shared.pointee.base! + entry.offset)
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_publish")
public func tld_publish() -> Int32 {
  perform { call throws(Errno) in
    let (isNew, failure) = try call.runtime.registry.publish(call.thread)
    try call.watchThreadEnd(ifNew: isNew)
    return failure
  }
}

// MARK: Maps

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_attach")
public func tld_attach(_ map: Int32) -> Int32 {
  perform { call throws(Errno) in
    try call.runtime.lifecycle.prepare()
    return try call.runtime.registry.attach(FileDescriptor(number: map), for: .caller, by: call.thread).failure
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_detach")
public func tld_detach(_ map: Int32) -> Int32 {
  perform { call throws(Errno) in
    let registry = call.runtime.registry
    try registry.detach(try registry.map(of: FileDescriptor(number: map)))
    return nil
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_detach_id")
public func tld_detach_id(_ map: UInt32) -> Int32 {
  perform { call throws(Errno) in
    try call.runtime.registry.detach(map)
    return nil
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_follow")
public func tld_follow(_ path: UnsafePointer<CChar>?) -> Int32 {
  perform { call throws(Errno) in
    try call.runtime.lifecycle.prepare()
    try call.runtime.followedPaths.follow(path, by: call.thread, watchPaths, atExit: stopWatching)
    return nil
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_unfollow")
public func tld_unfollow(_ path: UnsafePointer<CChar>?) -> Int32 {
  perform { call throws(Errno) in
    try call.runtime.followedPaths.unfollow(path)
    return nil
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_follow_status")
public func tld_follow_status(_ path: UnsafePointer<CChar>?) -> Int32 {
  perform { call throws(Errno) in
    let status = try call.runtime.followedPaths.status(path)
    return status == 0 ? nil : Errno(status)
  }
}

private func watchPaths(_ watcher: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  Runtime.shared.followedPaths.watch(watcher!.assumingMemoryBound(to: Watcher.self))
  return nil
}

private func stopWatching() {
  guard let call = CallGuard() else { return }
  call.runtime.followedPaths.stop()
  call.end()
}

// MARK: Other threads

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_ref_thread")
public func tld_ref_thread(_ task: pid_t) -> OpaquePointer? {
  let record = fetch { call throws(Errno) in
    try call.runtime.lifecycle.prepare()
    return UnsafeMutableRawPointer(try call.runtime.registry.reference(TaskID(number: task)))
  }
  return OpaquePointer(record)
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_ref_get")
public func tld_ref_get(_ ref: OpaquePointer?, _ key: tld_key_t) -> UnsafeMutableRawPointer? {
  do throws(Errno) {
    guard let ref else { throw Errno(EINVAL) }
    let block = Record(ref).pointee.block
    let entry = try Runtime.shared.keys.entry(at: ByteCount(key.off))
    guard entry.end <= block.dataSize else { throw Errno(E2BIG) }
    return block.data + entry.offset
  } catch {
    ctld_set_errno(error.code)
    return nil
  }
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_unref_thread")
public func tld_unref_thread(_ ref: OpaquePointer?) {
  guard let ref, let call = CallGuard() else { return }
  call.runtime.registry.unreference(Record(ref))
  call.end()
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_free")
public func tld_free() {
  guard let call = CallGuard() else { return }
  call.runtime.registry.withdrawAndClear(call.thread)
  call.end()
}

#if compiler(>=6.3)
@implementation
#endif
@_cdecl("tld_version")
public func tld_version() -> UnsafePointer<CChar>? { ctld_version() }
