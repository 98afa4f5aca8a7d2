// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Children that no handler was run for, or in the middle of a call.

import CTLD
import Glibc
import Testing

@testable import TLD

/// What a thread does in a call during which it is forked.
enum InterruptedCall: CaseIterable {
  case enterAttached, enterMap, enterNewMap, enterNoDataMap, attachNewMap, attachAgain, detach, leave, free, reference,
       publish

  func run(_ thread: ModelThread, _ maps: [FileDescriptor], _ noDataMap: FileDescriptor) throws(Errno) {
    switch self {
    case .enterAttached: try thread.enter()
    case .enterMap: try thread.enter(maps[1])
    case .enterNewMap: try thread.enter(maps[2])
    case .enterNoDataMap: try thread.enter(noDataMap)
    case .attachNewMap: try thread.attach(maps[2])
    case .attachAgain: try thread.attach(maps[0])
    case .detach: try thread.detach(maps[0])
    case .leave: thread.leave()
    case .free: thread.withdrawAndClear()
    case .reference: thread.process.registry.unreference(try thread.reference(12))
    case .publish: try thread.publish()
    }
  }

  /// Whether the thread has data before.
  var isRegistered: Bool {
    switch self {
    case .enterAttached, .publish: false
    default: true
    }
  }
}

@Suite struct ThreadRegistryForkTests {
  // MARK: The lock free

  @Test("a child of a bare fork keeps its values and attached maps, has nothing published, and is at its next call",
        arguments: 0..<3)
  func bareFork(call: Int) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let passed = process.kernel.makeMap(valueSize: 32)
    let threads = (10..<15).map { process.thread($0) }
    try threads[0].attach(map)
    for thread in threads {
      try thread.enter(passed)
      thread.write(UInt64(thread.task))
    }
    let elements = threads.map { process.kernel.element(process.kernel.id(of: map), $0.task)?.bytes }
    let base = threads[2].base

    let child = process.fork(threads[2], childTask: 50)
    process.registry.resetInUnpreparedChild(child.calling)
    #expect(child.fastPath(0) == nil && child.fastPath(passed, 0) == nil)
    #expect(process.kernel.dataMaps(with: 50).isEmpty)
    #expect(process.records.map(\.task.number) == [50] && process.servedMaps.count == 2)
    process.expectSound()

    switch call {
    case 0: try child.enter()
    case 1: try child.enter(passed)
    default: #expect(try child.publish() == (false, nil))
    }
    child.expectPublished(in: map, passed)
    #expect(child.base == base && child.word == 12 && child.fastPath(0) == base)
    child.write(1012)
    let sibling = process.thread(51)
    try sibling.enter()
    sibling.expectPublished(in: map)
    #expect(sibling.word == 0 && child.word == 1012)
    child.exit()
    sibling.exit()
    #expect(process.usedPages == 0)
    for (thread, bytes) in zip(threads, elements) {
      #expect(process.kernel.element(process.kernel.id(of: map), thread.task)?.bytes == bytes, "the parent's element")
    }
    process.expectSound()
  }

  @Test("children of children are published each under its own id")
  func generations() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    var thread = process.thread(10)
    try thread.attach(map)
    try thread.enter()
    for id in 50..<60 as Range<Int32> {
      thread = process.fork(thread, childTask: id)
      process.registry.resetInUnpreparedChild(thread.calling)
      #expect(process.kernel.dataMaps(with: id).isEmpty)
      try thread.enter()
      thread.expectPublished(in: map)
      process.expectSound()
    }
    #expect(process.kernel.elementCount == 11)
  }

  @Test("a thread that freed its data is not published in a child before it uses a TLD")
  func freedChild() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.attach(map)
    try thread.enter()
    thread.withdrawAndClear()
    let child = process.fork(thread, childTask: 50)
    process.registry.resetInUnpreparedChild(child.calling)
    try child.attach(map)
    child.expectAbsent(from: map)
    try child.enter()
    child.expectPublished(in: map)
    process.expectSound()
  }

  // MARK: The lock held by a thread that is not there

  @Test("a child that finds the lock held trusts its own record and the kernel only, and works",
        arguments: [false, true], [false, true])
  func lockHeld(isRegistered: Bool, wasPassed: Bool) throws {
    let process = ModelProcess(budget: 3000)
    let maps = [24, 32, 24].map { process.kernel.makeMap(valueSize: $0) }
    let forking = process.thread(10)
    let others = (11..<15).map { process.thread($0) }
    try forking.attach(maps[0])
    for thread in others {
      try thread.enter(maps[2])
      thread.write(UInt64(thread.task))
    }
    if isRegistered {
      try forking.enter()
      if wasPassed { try forking.enter(maps[1]) }
      forking.write(10)
    }
    let ref = isRegistered ? try others[0].reference(10) : nil
    let othersRef = try others[0].reference(11)
    let endedRef = try others[0].reference(14)
    others[3].exit()
    let inUse = process.usedPages

    inThreads(1) { _ in process.registry.lockForFork() }
    let state = process.registry.state
    #expect(!process.lockIsFree && !process.lockIsMine)
    // In the middle of some other thread's change.
    state.pointee.first?.pointee.next = nil
    state.pointee.unclaimed = 77
    state.pointee.maps[0].threads = -5
    state.pointee.arena.free = (isRegistered ? forking : others[0]).block.page
    state.pointee.arena.free!.pointee.next = nil
    let served = process.servedMaps.map(\.id)
    let child = process.fork(forking, childTask: 50)
    process.registry.resetInUnpreparedChild(child.calling)
    #expect(process.lockIsFree)
    #expect(process.records.map(\.task.number) == (isRegistered ? [50] : []))
    #expect(Set(process.servedMaps.map(\.id)).isSubset(of: served))
    #expect(process.servedMaps.contains { $0.id == process.kernel.id(of: maps[0]) }, "the attached map is lost")
    process.expectSound()

    #expect(try child.enter() != isRegistered)
    if isRegistered { #expect(child.word == 10 && ref!.pointee.block.data == child.base) }
    child.write(10)
    child.expectPublished(in: maps[0])
    if isRegistered && wasPassed { child.expectPublished(in: maps[1]) }
    let crowd = (100..<300).map { process.thread($0) }
    for thread in crowd {
      try thread.enter()
      #expect(thread.word == 0, "memory with somebody's data")
      thread.write(UInt64(thread.task))
    }
    process.expectSound()
    // The others' memory is lost, but stays what the references lead to.
    #expect(othersRef.pointee.block.data.word(at: 0, as: UInt64.self) == 11)
    for old in [othersRef, endedRef] { child.unreference(old) }
    process.expectSound()
    if let ref { child.unreference(ref) }
    for thread in crowd { thread.exit() }
    child.exit()
    #expect(process.records.isEmpty && process.usedPages <= (isRegistered ? 1 : 0) + inUse)
    process.expectSound()
  }

  @Test("in a child that started anew memory stays bounded as in any process")
  func boundedAfterStartingAnew() throws {
    let process = ModelProcess(budget: 3000)
    let forking = process.thread(9)
    try forking.enter()
    let others = (10..<500).map { process.thread($0) }
    for thread in others { try thread.enter() }
    inThreads(1) { _ in process.registry.lockForFork() }
    let child = process.fork(forking, childTask: 5000)
    process.registry.resetInUnpreparedChild(child.calling)
    for task in 6000..<6400 as Range<Int32> {
      let thread = process.thread(task)
      try thread.enter()
      thread.vanish()
    }
    #expect(process.records.count < 200, "\(process.records.count) records for one thread")
    process.expectSound()
  }

  @Test("a map whose descriptor is closed, or another map's by now, is not served in an unprepared child",
        arguments: [false, true])
  func wrongDescriptors(lockHeld: Bool) throws {
    let process = ModelProcess()
    let maps = (0..<4).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    for map in maps { try thread.attach(map) }
    try thread.enter()
    if lockHeld { inThreads(1) { _ in process.registry.lockForFork() } }
    let state = process.registry.state
    let kept = state.pointee.maps[3].fd
    process.kernel.close(state.pointee.maps[0].fd)
    state.pointee.maps[0].fd = FileDescriptor(number: -1)
    process.kernel.close(state.pointee.maps[1].fd)
    let child = process.fork(thread, childTask: 50)
    process.registry.resetInUnpreparedChild(child.calling)
    #expect(process.servedMaps.map(\.id) == [maps[2], maps[3]].map { process.kernel.id(of: $0) })
    #expect(process.servedMaps[1].fd == kept)
    try child.enter()
    child.expectPublished(in: maps[2], maps[3])
    child.expectAbsent(from: maps[0], maps[1])
    process.expectSound()
  }

  // MARK: In the middle of an own call

  @Test("a call that goes on in a child touches no element any more, wherever it was forked, and the child works afterwards",
        arguments: InterruptedCall.allCases, [false, true])
  func cutOff(interrupted: InterruptedCall, withoutDescriptors: Bool) throws {
    for index in 0..<100 {
      var wasForked = false
      try Interruption(interrupted, withoutDescriptors).run(at: index, &wasForked)
      if !wasForked { return #expect(index > 0, "never forked") }
    }
    Issue.record("a call without end")
  }
}

/// One call, forked before its `index`th system call by a signal handler.
private struct Interruption {
  let interrupted: InterruptedCall
  /// None is left for the child.
  let withoutDescriptors: Bool
  let process = ModelProcess()
  let maps: [FileDescriptor]
  let noDataMap: FileDescriptor
  let thread: ModelThread
  let other: ModelThread

  init(_ interrupted: InterruptedCall, _ withoutDescriptors: Bool) throws {
    self.interrupted = interrupted
    self.withoutDescriptors = withoutDescriptors
    let kernel = process.kernel
    maps = [24, 32, 24].map { kernel.makeMap(valueSize: $0) }
    noDataMap = kernel.makeMap(valueSize: 24, uptrs: [])
    thread = process.thread(10)
    other = process.thread(11)
    _ = process.thread(12)
    try other.attach(maps[0])
    try other.enter(maps[1])
    other.write(11)
    if interrupted.isRegistered {
      try thread.enter()
      thread.write(10)
    }
  }

  func run(at index: Int, _ wasForked: inout Bool) throws {
    let kernel = process.kernel
    let (process, thread, withoutDescriptors) = (process, thread, withoutDescriptors)
    var left = index
    var forked: (child: ModelThread, elements: [[UInt8]?])?
    func elements() -> [[UInt8]?] {
      (maps + [noDataMap]).flatMap { map in
        [10, 11, 12, 50].map { kernel.element(kernel.id(of: map), $0)?.bytes }
      }
    }
    kernel.interrupt { _ in
      guard forked == nil else { return }
      if left > 0 {
        left -= 1
        return
      }
      let child = process.fork(thread, childTask: 50)
      kernel.allowClosedMaps()
      forked = (child, elements())
      if withoutDescriptors { kernel.fail { $0.call == .duplicate ? EMFILE : nil } }
      // What the fork handler does in the child.
      if process.lockIsMine {
        process.registry.cutOffInterruptedCall()
      } else {
        process.registry.resetInUnpreparedChild(child.calling)
      }
    }
    try? interrupted.run(thread, maps, noDataMap)
    kernel.interruptNoMore()
    kernel.failNoMore()
    guard let forked else { return }
    wasForked = true
    let what: Comment = "\(interrupted), forked before call \(index)"
    #expect(elements() == forked.elements, what)
    #expect(process.lockIsFree, what)

    // What `Call.end` does.
    let child = forked.child
    process.registry.resetInUnpreparedChild(child.calling)
    let fault = process.firstUnsoundness(descriptorsOfParent: true)
    #expect(fault == nil, what)
    try child.enter()
    child.write(50)
    #expect(try child.attach(maps[0]) == nil, what)
    child.expectPublished(in: maps[0])
    try child.enter(maps[2])
    child.expectPublished(in: maps[2])
    child.exit()
    try child.detach(maps[0])
    #expect(elements() == forked.elements, what)
    let last = process.firstUnsoundness(descriptorsOfParent: true)
    #expect(last == nil, what)
    #expect(process.usedPages == 0, what)
  }
}
