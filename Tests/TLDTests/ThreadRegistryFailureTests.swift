// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A kernel that refuses: each call of each situation fails once with each errno that
// it can give, and leaves everything as it was.

import CTLD
import Glibc
import Testing

@testable import TLD

@Suite struct ThreadRegistryFailureTests {
  @Test("a call that fails at any point throws its errno, changes nothing, and succeeds when repeated",
        arguments: Situation.allCases)
  func everyPoint(situation: Situation) throws {
    let calls = try Scene(situation).dryRun()
    #expect(calls[.info, default: 0] >= 1 && calls[.open, default: 0] >= 1 && calls[.update, default: 0] >= 1)
    for call in ModelKernel.Call.allCases {
      for index in 0..<calls[call, default: 0] {
        for code in [EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EFAULT, EBADF, EINVAL, EAGAIN] {
          // Trials of a new map come before the update proper, and must give EFAULT.
          let isTrial = call == .update && index < calls[.update]! - 1
          try Scene(situation).fail(call, index, code, isExpected: isTrial && code == EFAULT)
        }
      }
    }
  }

  @Test("what passes is waited for: a short burst of it is not noticed",
        arguments: [EAGAIN, ETIMEDOUT, EDEADLK, EINTR, EBUSY], [ModelKernel.Call.update, .delete])
  func shortBurst(code: Int32, call: ModelKernel.Call) throws {
    for length in 1...8 {
      let process = ModelProcess()
      let map = process.kernel.makeMap(valueSize: 24)
      let thread = process.thread(10)
      var left = length
      process.kernel.fail { event in
        guard event.call == call, left > 0 else { return nil }
        left -= 1
        return code
      }
      try thread.enter(map)
      thread.expectPublished(in: map)
      thread.leave()
      thread.expectAbsent(from: map)
      #expect(process.records.isEmpty && process.usedPages == 0)
      #expect(left == 0 && process.kernel.yields == length, "a busy kernel was not given the processor")
      process.expectSound()
    }
  }

  @Test("what does not pass ends, with EAGAIN, after a bounded number of tries",
        arguments: [EAGAIN, ETIMEDOUT, EDEADLK, EINTR, EBUSY])
  func endlessBurst(code: Int32) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    process.kernel.fail { $0.call == .update || $0.call == .delete ? code : nil }
    #expect(errno { () throws(Errno) in try thread.enter(map) } == EAGAIN)
    #expect(!thread.isRegistered && process.records.isEmpty && process.kernel.heldMaps.isEmpty)
    #expect((2...1000).contains(process.kernel.count(.update)))
    process.kernel.failNoMore()
    try thread.enter(map)

    process.kernel.fail { $0.call == .delete ? code : nil }
    let deletes = process.kernel.count(.delete)
    thread.leave()
    #expect((2...1000).contains(process.kernel.count(.delete) - deletes))
    #expect(process.usedPages == 1, "its element is still there")
    process.expectSound()
  }

  @Test("the ninth map is refused while the oldest cannot give way, and nothing is lost",
        arguments: [EPERM, EAGAIN])
  func oldestStays(code: Int32) throws {
    let process = ModelProcess()
    let maps = (0..<9).map { _ in process.kernel.makeMap(valueSize: 24) }
    let oldest = process.kernel.id(of: maps[0])
    let thread = process.thread(10)
    for map in maps[..<8] { try thread.enter(map) }
    process.kernel.fail { $0.call == .delete && $0.map == oldest ? code : nil }
    #expect(errno { () throws(Errno) in try thread.enter(maps[8]) } == code)
    for map in maps[..<8] { thread.expectPublished(in: map) }
    process.expectSound()
    process.kernel.failNoMore()
    try thread.enter(maps[8])
    thread.expectPublished(in: maps[8])
    process.expectSound()
  }

  @Test("without memory for a thread's data there is ENOMEM, and nothing left behind")
  func noMemory() throws {
    // More than the address space holds: the page size is the table's word for it.
    let process = ModelProcess()
    let keys = KeyTable(state: process.keys.state, announced: process.keys.announced, pageSize: 1 << 50)
    let registry = ThreadRegistry(state: process.registry.state, keys: keys, kernel: process.kernel)
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    process.kernel.calling = TaskID(number: 10)
    #expect(errno { () throws(Errno) in
      try registry.publishCaller(thread.calling, in: map, for: process.first)
    } == ENOMEM)
    #expect(!thread.isRegistered && process.kernel.heldMaps.isEmpty && process.records.isEmpty)
    try thread.enter(map)
    thread.expectPublished(in: map)
    process.expectSound()
  }
}

/// In which situation a thread calls.
enum Situation: CaseIterable {
  case firstCallV1, firstCallV2, firstCallNative
  /// Another thread is published in that map already.
  case secondThread
  /// The thread is published in another map.
  case secondMap
  /// The thread has freed its data.
  case afterFree
  /// Eight other maps are served, with two other threads in each.
  case ninthMap
}

private final class Scene {
  let situation: Situation
  let process = ModelProcess()
  let thread: ModelThread
  let map: FileDescriptor
  private var others: [ModelThread] = []
  private var otherMaps: [FileDescriptor] = []

  init(_ situation: Situation) throws {
    self.situation = situation
    let kernel = process.kernel
    thread = process.thread(10)
    map = kernel.makeMap(valueSize: situation == .firstCallV1 ? 16 : situation == .firstCallNative ? 64 : 24)
    switch situation {
    case .firstCallV1, .firstCallV2, .firstCallNative: break
    case .secondThread: try addOther(in: [map])
    case .secondMap:
      otherMaps = [kernel.makeMap(valueSize: 32)]
      try addOther(in: otherMaps)
      try thread.enter(otherMaps[0])
    case .afterFree:
      try thread.enter(map)
      thread.withdrawAndClear()
    case .ninthMap:
      otherMaps = (0..<8).map { _ in kernel.makeMap(valueSize: 24) }
      for _ in 0..<2 { try addOther(in: otherMaps) }
    }
  }

  private func addOther(in maps: [FileDescriptor]) throws {
    let other = process.thread(Int32(20 + others.count))
    for map in maps { try other.enter(map) }
    other.write(UInt64(other.task))
    others.append(other)
  }

  /// How many calls of each kind success takes.
  func dryRun() throws -> [ModelKernel.Call: Int] {
    let before = counts
    try thread.enter(map)
    return counts.merging(before) { $0 - $1 }
  }

  private var counts: [ModelKernel.Call: Int] {
    Dictionary(uniqueKeysWithValues: ModelKernel.Call.allCases.map { ($0, process.kernel.count($0)) })
  }

  /// Have call number `index` of its kind fail, EAGAIN for ever and all else once.
  func fail(_ call: ModelKernel.Call, _ index: Int, _ code: Int32, isExpected: Bool) throws {
    let at = process.kernel.count(call) + index
    let before = Snapshot(self)
    process.kernel.fail { event in
      event.call == call && (event.index == at || code == EAGAIN && event.index > at) ? code : nil
    }
    let thrown = errno { () throws(Errno) in try thread.enter(map) }
    process.kernel.failNoMore()
    let what: Comment = "\(situation): \(call) \(index) gives \(code)"
    // Pages that exist could not be pinned: it is for lack of something.
    let told = call == .update && code == EFAULT ? EAGAIN : code
    #expect(thrown == (isExpected ? nil : told), what)
    if thrown != nil {
      #expect(Snapshot(self) == before, what)
      expectOthersPublished(what)
      try thread.enter(map)
    }
    thread.expectPublished(in: map)
    expectOthersPublished(what)
    let fault = process.firstUnsoundness()
    #expect(fault == nil, what)
    leaveAll(what)
  }

  private func expectOthersPublished(_ what: Comment) {
    for other in others {
      #expect(other.word == UInt64(other.task), what)
      for (i, map) in otherMaps.enumerated() {
        let isOldest = situation == .ninthMap && i == 0
        #expect(isOldest || other.unpublished(in: process.kernel.id(of: map)) == nil, what)
      }
    }
  }

  private func leaveAll(_ what: Comment) {
    for thread in others + [thread] { thread.exit() }
    #expect(process.records.isEmpty && process.usedPages == 0 && process.kernel.elementCount == 0, what)
    #expect(process.kernel.heldMaps.isEmpty && process.kernel.rulesBroken.isEmpty, what)
  }

  /// What a failure must not change. The oldest of eight maps may have given way.
  private struct Snapshot: Equatable {
    let isRegistered: Bool
    let base: UnsafeMutablePointer<CChar>?
    let mapFD: Int32
    let limit: UInt16
    let threadIsIn: Set<UInt32>
    let records: Int
    let usedPages: Int
    let served: Set<UInt32>

    init(_ scene: Scene) {
      let thread = scene.thread
      isRegistered = thread.isRegistered
      base = thread.shared.pointee.base
      mapFD = thread.mapFD
      limit = thread.shared.pointee.limit
      threadIsIn = scene.process.kernel.dataMaps(with: thread.task)
      records = scene.process.records.count
      usedPages = scene.process.usedPages
      let oldest = scene.situation == .ninthMap ? scene.process.kernel.id(of: scene.otherMaps[0]) : 0
      served = Set(scene.process.servedMaps.map(\.id)).subtracting([oldest])
    }
  }
}
