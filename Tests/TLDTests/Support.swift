// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What several tests need: memory as the library has it, threads that are real, and
// a list of faults that such threads may add to.

import CTLD
import Glibc
import Synchronization

@testable import TLD

/// The page sizes of the machines that Linux runs on. Memory for a larger page than
/// this machine's is as good: nothing here needs its alignment.
let pageSizes = [4096, 16_384, 65_536]

/// Zeroed memory in which a component's state lies, as in the library: no initialiser runs.
/// `CTLD_STATE_SIZE` bytes, never given back, so that no late reader can be harmed.
func zeroedState<State: ~Copyable>(of _: State.Type) -> UnsafeMutablePointer<State> {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: Int(CTLD_STATE_SIZE), alignment: 64)
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: Int(CTLD_STATE_SIZE))
  return memory.assumingMemoryBound(to: State.self)
}

func zeroedMemory(_ bytes: Int) -> UnsafeMutableRawPointer {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
  return memory
}

private nonisolated(unsafe) let zeros = zeroedMemory(65_536)

extension UnsafeRawPointer {
  func isZero(_ bytes: Int) -> Bool { memcmp(self, zeros, bytes) == 0 }
}

extension UnsafeMutableRawPointer {
  func isZero(_ bytes: Int) -> Bool { UnsafeRawPointer(self).isZero(bytes) }

  var address: UInt { UInt(bitPattern: self) }

  func word<T: BitwiseCopyable>(at offset: Int, as type: T.Type = T.self) -> T {
    loadUnaligned(fromByteOffset: offset, as: type)
  }

  func bytes(_ range: Range<Int>) -> [UInt8] { range.map { load(fromByteOffset: $0, as: UInt8.self) } }
}

/// Little-endian, as the formats are.
func bytes(of value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The errno that `body` throws, or nil.
func errno<T>(of body: () throws(Errno) -> T) -> Int32? {
  do {
    _ = try body()
    return nil
  } catch {
    return error.code
  }
}

/// Run `body(0)` to `body(count - 1)` at the same time, each in a thread of its own.
func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  final class Start: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  let gate = Gate(count)
  let threads = (0..<count).map { index in
    let start = Unmanaged.passRetained(Start {
      gate.pass()
      body(index)
    })
    var thread = pthread_t()
    let error = pthread_create(&thread, nil, { argument in
      Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().run()
      return nil
    }, start.toOpaque())
    precondition(error == 0, "pthread_create: \(error)")
    return thread
  }
  for thread in threads { pthread_join(thread, nil) }
}

/// Opens when all are there.
private final class Gate: Sendable {
  private let missing: Atomic<Int>

  init(_ count: Int) { missing = Atomic(count) }

  func pass() {
    missing.subtract(1, ordering: .acquiringAndReleasing)
    while missing.load(ordering: .acquiring) > 0 { sched_yield() }
  }
}

/// What threads found wrong. The testing library knows only tasks of its own, so a
/// thread writes here, and the test expects this to be empty.
final class Faults: @unchecked Sendable {
  private let mutex = PosixMutex()
  private var faults: [String] = []

  func add(_ fault: @autoclosure () -> String, unless holds: Bool = false) {
    if holds { return }
    mutex.locked { if faults.count < 20 { faults.append(fault()) } }
  }

  var all: [String] { mutex.locked { faults } }
}

/// The C library's, because the thread sanitizer knows it.
final class PosixMutex: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init() { pthread_mutex_init(mutex, nil) }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func locked<T, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }
}
