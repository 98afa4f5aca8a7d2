// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// One data map's threads, read by a BPF iterator in the kernel: nobody is stopped, and nothing
// is attached that the watched programs would run.

import TldctlKernel
import Glibc
import TldctlModel

/// Which threads are read.
enum Selection: Equatable {
  case all
  case process(UInt32)
  case thread(UInt32)

  var tgid: UInt32 { if case .process(let pid) = self { pid } else { 0 } }
  var tid: UInt32 { if case .thread(let tid) = self { tid } else { 0 } }
}

/// The loaded program over one map. It may be read again and again.
struct MapReader: ~Copyable {
  let map: FoundMap
  private let reader: OpaquePointer

  init(_ map: FoundMap) throws(Failure) {
    let descriptor = try map.open()
    var opened: OpaquePointer?
    let error = loading { ctldctl_reader_open(descriptor.number, UInt32(map.valueSize), &opened) }
    guard error == 0, let opened else { throw loadFailure("\(map.title) cannot be read", -error) }
    self.map = map
    reader = opened
  }

  deinit { ctldctl_reader_close(reader) }

  /// What the threads of the selection say now.
  func snapshot(_ selection: Selection = .all) throws(Failure) -> Snapshot {
    let fd = ctldctl_reader_begin(reader, selection.tgid, selection.tid)
    // The kernel looks for the one thread at once.
    if fd == -ESRCH { return Snapshot() }
    guard fd >= 0 else { throw Failure.system("the threads of \(map.title) cannot be listed", errno: -fd) }
    let stream = try all(of: Descriptor(fd))
    do {
      return try stream.withUnsafeBytes { try Snapshot(stream: $0) }
    } catch {
      throw error as? Failure ?? Failure(.other, "\(error)")
    }
  }

  private func all(of iterator: consuming Descriptor) throws(Failure) -> [UInt8] {
    var stream: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let length = chunk.withUnsafeMutableBytes { read(iterator.number, $0.baseAddress, $0.count) }
      if length == 0 { return stream }
      if length > 0 {
        stream += chunk[..<length]
      } else if errno != EINTR && errno != EAGAIN {
        throw Failure.system("the threads of \(map.title) cannot be read", errno: errno)
      }
    }
  }
}

/// Loads BPF programs. EAGAIN is no verdict of the verifier: a signal came, or the kernel was short of
/// something. After libbpf's own five attempts there are nine more of them, which take 0.1 s.
func loading(_ load: () -> Int32) -> Int32 {
  var error: Int32 = 0
  for _ in 0..<10 {
    ctldctl_log_clear()
    error = load()
    if error != -EAGAIN { break }
    usleep(10_000)
  }
  return error
}

/// Why a BPF program was refused, in words: what the kernel lacks, or what the caller may not.
func loadFailure(_ what: String, _ code: Int32) -> Failure {
  switch code {
  case EPERM: return Failure.system(what, errno: code)
  case EAGAIN, EINTR, ENOMEM, EMFILE, ENFILE: return Failure.system(what, errno: code, advice: "try again")
  default: break
  }
  let has = ctldctl_kernel_has_uptr()
  if has == -ENOENT {
    return Failure(
      .kernelCannot, what, why: "the kernel does not tell its types (/sys/kernel/btf/vmlinux)",
      advice: "boot one that is built with CONFIG_DEBUG_INFO_BTF")
  }
  if has == 0 {
    return Failure(.kernelCannot, what, why: "the kernel has no UPTR", advice: "boot Linux 6.13 or newer")
  }
  if code == ENOSYS || code == EOPNOTSUPP { return Failure.system(what, errno: code) }
  return Failure(
    .kernelCannot, what, why: "the kernel refuses the BPF program (\(describe(errno: code)))",
    advice: environment("TLDCTL_DEBUG") == nil ? "with TLDCTL_DEBUG=1 in the environment libbpf's words are shown" : "libbpf says:\n\(String(cString: ctldctl_log()))")
}
