// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Real threads on one registry, and something that reads as BPF does meanwhile. Meant
// to be run under the thread sanitizer as well.

import CTLD
import Glibc
import Synchronization
import Testing

@testable import TLD

@Suite struct ThreadRegistryConcurrencyTests {
  /// More than eight maps: they push each other out.
  @Test("threads that come, go and vanish at once are each seen with their own data, or not at all",
        arguments: [[24, 24, 32], [16, 24, 32, 16], Array(repeating: 24, count: 10)])
  func hammer(valueSizes: [Int]) {
    let process = ModelProcess(hasRealThreads: true)
    let maps = valueSizes.map { process.kernel.makeMap(valueSize: $0) }
    let faults = Faults()
    let workers = 5
    // The kernel is busy now and then.
    process.kernel.fail { ($0.call == .update || $0.call == .delete) && $0.index % 13 == 0 ? EAGAIN : nil }

    let countdown = Countdown(workers)
    inThreads(workers + 1) { index in
      if index == workers {
        while countdown.isRunning { process.kernel.readEverything() }
        return
      }
      for life in 0..<6 {
        // A thread of its own for each life.
        inThreads(1) { _ in
          var worker = Worker(process, maps, faults, SeededGenerator("hammer", round: index * 100 + life))
          worker.run(steps: 60, endsProperly: life % 3 != 2)
        }
      }
      countdown.oneEnds()
    }
    #expect(faults.all.isEmpty)
    #expect(process.kernel.rulesBroken.isEmpty)
    process.kernel.failNoMore()
    process.expectSound()
    expectNothingLeft(process)
  }

  @Test("maps attached and detached while threads come, go, vanish and refer to each other: own data, or none",
        arguments: [[24, 24, 32], [24, 32, 24, 64, 24, 32, 24, 64, 24, 24]])
  func attaching(valueSizes: [Int]) {
    let process = ModelProcess(hasRealThreads: true)
    let maps = valueSizes.map { process.kernel.makeMap(valueSize: $0) }
    let faults = Faults()
    let workers = 4
    process.kernel.fail { ($0.call == .update || $0.call == .delete) && $0.index % 13 == 0 ? EAGAIN : nil }

    let countdown = Countdown(workers)
    inThreads(workers + 2) { index in
      if index == workers {
        while countdown.isRunning { process.kernel.readEverything() }
      } else if index == workers + 1 {
        var attacher = Attacher(process, maps, faults)
        while countdown.isRunning { attacher.step() }
        attacher.detachAll()
      } else {
        for life in 0..<6 {
          inThreads(1) { _ in
            var worker = Worker(process, maps, faults, SeededGenerator("attaching", round: index * 100 + life))
            worker.run(steps: 60, endsProperly: life % 3 != 2)
          }
        }
        countdown.oneEnds()
      }
    }
    #expect(faults.all.isEmpty)
    #expect(process.kernel.rulesBroken.isEmpty)
    process.kernel.failNoMore()
    process.expectSound()
    expectNothingLeft(process)
  }

  /// So many threads come that those which vanished are noticed, and then all leave.
  private func expectNothingLeft(_ process: ModelProcess) {
    process.hasRealThreads = false
    let map = process.kernel.makeMap(valueSize: 16)
    let crowd = (5_000_000..<5_000_400).map { process.thread($0) }
    for thread in crowd { #expect(throws: Never.self) { try thread.enter(map) } }
    #expect(process.records.count == 400)
    for thread in crowd { thread.exit() }
    #expect(process.records.isEmpty && process.usedPages == 0)
    #expect(process.kernel.heldMaps.isEmpty && process.kernel.elementCount == 0)
    process.expectSound()
  }
}

private final class Countdown: Sendable {
  private let count: Atomic<Int>

  init(_ count: Int) { self.count = Atomic(count) }

  var isRunning: Bool { count.load(ordering: .acquiring) > 0 }
  func oneEnds() { count.subtract(1, ordering: .releasing) }
}

/// A thread that attaches and detaches all the time, and refers to whom it meets.
private struct Attacher {
  let process: ModelProcess
  let maps: [FileDescriptor]
  let faults: Faults
  let thread: ModelThread
  var random = SeededGenerator("attacher")
  var references: [Record] = []

  init(_ process: ModelProcess, _ maps: [FileDescriptor], _ faults: Faults) {
    self.process = process
    self.maps = maps
    self.faults = faults
    thread = process.thread(ctld_gettid())
  }

  mutating func step() {
    let map = maps[random.below(maps.count)]
    switch random.below(8) {
    case 0..<3:
      let result = Result { () throws(Errno) in try thread.attach(map, for: random.oneIn(2) ? .caller : .follower(2)) }
      // Of more than eight maps one finds no place.
      faults.add("attach: \(result)", unless: result == .success(nil) || result == .failure(Errno(ENOSPC)) && maps.count > 8)
    case 3..<6:
      let result = Result { () throws(Errno) in try thread.detach(map) }
      if case .failure(let error) = result { faults.add("detach: \(error)", unless: error == Errno(ENOENT)) }
    case 6:
      guard references.count < 20, let task = process.kernel.anyThread(random.next()) else { return }
      let result = Result { () throws(Errno) in try thread.reference(task) }
      if case .success(let record) = result { references.append(record) }
      if case .failure(let error) = result { faults.add("refer: \(error)", unless: error == Errno(ESRCH)) }
    default:
      if !references.isEmpty { thread.unreference(references.remove(at: random.below(references.count))) }
    }
    sched_yield()
  }

  mutating func detachAll() {
    for record in references { thread.unreference(record) }
    for map in process.servedMaps where map.keepers != .none {
      faults.add("could not detach", unless: (try? process.registry.detach(map.id)) != nil)
    }
    process.kernel.end(thread.task)
  }
}

private struct Worker {
  let process: ModelProcess
  let maps: [FileDescriptor]
  let faults: Faults
  var random: SeededGenerator
  let thread: ModelThread
  /// No other thread's.
  let word: UInt64
  var base: UnsafeMutableRawPointer?

  init(_ process: ModelProcess, _ maps: [FileDescriptor], _ faults: Faults, _ random: SeededGenerator) {
    self.process = process
    self.maps = maps
    self.faults = faults
    self.random = random
    thread = process.thread(ctld_gettid())
    word = UInt64(thread.task)
  }

  mutating func run(steps: Int, endsProperly: Bool) {
    for _ in 0..<steps {
      switch random.below(15) {
      case 0: leave()
      case 1: withdrawAndClear()
      case 2...4: getAnywhere()
      default: get(maps[random.below(maps.count)])
      }
    }
    if endsProperly { leave() }
    process.kernel.end(thread.task)
  }

  /// tld_get_data(), and then what a program does with the pointer.
  private mutating func get(_ map: FileDescriptor) {
    if let data = thread.fastPath(map, 0) {
      faults.add("the fast path leads to another place", unless: data == base)
    } else {
      let result = Result { () throws(Errno) in try thread.enter(map) }
      guard case .success(let isNew) = result else {
        // A packed block, and a v1 map; more than eight maps, of which eight are attached.
        let isFull = maps.count > 8 && result == .failure(Errno(ENOSPC))
        return faults.add("\(result)", unless: result == .failure(Errno(EXDEV)) || isFull)
      }
      if isNew { faults.add("memory with somebody's data", unless: thread.base.isZero(thread.block.dataSize)) }
      faults.add("data moved", unless: isNew || base == nil || base == thread.base)
      base = thread.base
      checkPublished(in: map)
    }
    let found = thread.word
    faults.add("data hold \(found), not \(word)", unless: found == 0 || found == word)
    thread.write(word)
  }

  /// tld_get().
  private mutating func getAnywhere() {
    if let data = thread.fastPath(0) {
      faults.add("the fast path leads to another place", unless: data == base)
    } else {
      let result = Result { () throws(Errno) in try thread.enter() }
      guard case .success(let isNew) = result else { return faults.add("\(result)") }
      if isNew { faults.add("memory with somebody's data", unless: thread.base.isZero(thread.block.dataSize)) }
      faults.add("data moved", unless: isNew || base == nil || base == thread.base)
      base = thread.base
    }
    let found = thread.word
    faults.add("data hold \(found), not \(word)", unless: found == 0 || found == word)
    thread.write(word)
  }

  /// Another thread may push out the map at any time, but then it closes the fast path.
  private func checkPublished(in map: FileDescriptor) {
    guard let fault = thread.unpublished(in: process.kernel.id(of: map)) else { return }
    process.registry.lockForFork()
    faults.add(fault, unless: thread.mapFD == .min)
    process.registry.unlockAfterFork()
  }

  private mutating func leave() {
    let wasRegistered = thread.isRegistered
    process.kernel.forgetWord(of: thread.task)
    thread.leave()
    base = nil
    // Data that wait for the thread, made by a reference, may be there afterwards.
    faults.add("left in a map", unless: !wasRegistered || process.isWaitedFor(thread) || isNowhere)
  }

  private mutating func withdrawAndClear() {
    process.kernel.forgetWord(of: thread.task)
    thread.withdrawAndClear()
    faults.add("still in a map", unless: process.isWaitedFor(thread) || isNowhere)
    if thread.isRegistered { faults.add("not cleared", unless: thread.word == 0) }
  }

  private var isNowhere: Bool { process.kernel.dataMaps(with: thread.task).isEmpty }
}
