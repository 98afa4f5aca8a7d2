// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Two rare things at once.

import CTLD
import Glibc
import Testing

@testable import TLD

@Suite struct ThreadRegistryCornerTests {
  @Test("a map that is refused costs none of the eight served its place",
        arguments: [16, 24], [[], [0]] as [Set<Int>])
  func refusedNinthMap(valueSize: Int, uptrs: Set<Int>) throws {
    let process = ModelProcess()
    let maps = (0..<8).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    for map in maps { try thread.enter(map) }
    let fake = process.kernel.makeMap(valueSize: valueSize, uptrs: uptrs)
    for caller in [thread, process.thread(11)] {
      #expect(errno { () throws(Errno) in try caller.enter(fake) } != nil)
      #expect(maps.allSatisfy { thread.unpublished(in: process.kernel.id(of: $0)) == nil })
      #expect(thread.fastPath(maps[7], 0) == thread.base)
    }
    process.expectSound()
  }

  @Test("the memory of a thread that vanished is not written to, even when its id lives on")
  func vanishedThreadsMemory() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { _ in process.kernel.makeMap(valueSize: 24) }
    let gone = process.thread(10)
    try gone.enter(maps[0])
    gone.vanish()
    let next = process.thread(10)
    for map in maps[..<8] { try next.enter(map) }
    let before = gone.mapFD
    try next.enter(maps[8])
    #expect(gone.mapFD == before, "written to memory that may be anybody's by now")
    process.expectSound()
  }

  @Test("the page of a thread that left an element behind serves nobody while the thread lives, itself included")
  func stuckAndBack() throws {
    let process = ModelProcess(budget: 3000)
    let maps = [24, 24].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    try thread.enter(maps[0])
    thread.write(10)
    let page = thread.block.pageAddress
    process.kernel.fail { $0.call == .delete && $0.task == 10 ? EPERM : nil }
    thread.leave()
    // Use up what memory there is, so that the next block makes the registry look for some.
    var others: [ModelThread] = []
    while process.usedPages < process.pages {
      let other = process.thread(Int32(11 + others.count))
      try other.enter(maps[1])
      other.write(UInt64(other.task))
      others.append(other)
    }
    try thread.enter(maps[1])
    #expect(thread.block.pageAddress != page || thread.word == 10, "the page was taken while BPF finds it")
    let next = process.thread(500)
    try next.enter(maps[1])
    #expect(next.block.pageAddress != page)
    process.expectSound()
  }

  @Test("an element that a thread left behind, and that it replaced when it came back, is not removed any more")
  func replacedByItself() throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.attach(map)
    try thread.enter()
    process.kernel.fail { $0.call == .delete ? EPERM : nil }
    thread.leave()
    process.kernel.failNoMore()
    try thread.enter()
    thread.write(10)
    thread.expectPublished(in: map)
    // So many come and go that what is gone is looked for.
    for task in 11..<400 as Range<Int32> {
      let other = process.thread(task)
      try other.enter()
      if task % 4 == 0 { other.exit() }
    }
    #expect(try process.thread(1000).attach(map) == nil)
    thread.expectPublished(in: map)
    #expect(thread.word == 10)
    process.expectSound()
  }

  @Test("of two elements that a thread left behind, the later is there: its page is kept until that is removed")
  func replacedAndLeftAgain() throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.attach(map)
    process.kernel.fail { $0.call == .delete ? EPERM : nil }
    for value in [1, 2] as [UInt64] {
      try thread.enter()
      thread.write(value)
      thread.leave()
    }
    process.kernel.failNoMore()
    for task in 11..<400 as Range<Int32> {
      let other = process.thread(task)
      try other.enter()
      if task % 4 == 0 { other.exit() }
    }
    thread.expectAbsent(from: map)
    process.expectSound()
  }

  @Test("a thread keeps its start until no destructor uses TLDs any more, for the kernel's BPF header caches it")
  func startForLife() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let stays = process.thread(9)
    try stays.enter(map)
    let thread = process.thread(10)
    try thread.enter(map)
    let start = thread.block.start
    for round in 0..<3 {
      thread.write(10)
      thread.endRound()
      thread.expectAbsent(from: map)
      try process.thread(Int32(11 + round)).enter(map)
      #expect(try !thread.enter(map))  // in a later destructor
      #expect(thread.block.start == start && thread.word == 0)
      thread.expectPublished(in: map)
    }
    thread.endRound()
    #expect(thread.isRegistered)
    thread.endRound()
    #expect(!thread.isRegistered && process.records.count == 4)
    process.expectSound()
  }

  @Test("an id that a task of another process has by now is left alone")
  func strangersID() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { _ in process.kernel.makeMap(valueSize: 24) }
    let gone = process.thread(10)
    let thread = process.thread(11)
    for map in maps[..<8] {
      try gone.enter(map)
      try thread.enter(map)
    }
    gone.vanish()
    process.kernel.beginStranger(10)
    let theirs = (0..<24).map { UInt8($0) }
    for map in maps { process.kernel.putForeign(theirs, in: map, for: 10) }
    try thread.enter(maps[8])
    thread.exit()
    // And so many that all are looked at.
    for task in 20..<200 as Range<Int32> { try process.thread(task).enter(maps[8]) }
    for map in maps { #expect(process.kernel.element(process.kernel.id(of: map), 10)?.bytes == theirs) }
    process.expectSound()
  }

  @Test("a thread that ends while the oldest map gives way is no error to another")
  func endsMeanwhile() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { _ in process.kernel.makeMap(valueSize: 24) }
    let ending = process.thread(10)
    let thread = process.thread(11)
    try ending.enter(maps[0])
    for map in maps[..<8] { try thread.enter(map) }
    // It is still there when the registry asks, and gone when its pidfd is opened.
    process.kernel.fail { $0.call == .open && $0.task == 10 ? ESRCH : nil }
    #expect(throws: Never.self) { try thread.enter(maps[8]) }
    process.kernel.end(10)
    process.expectSound()
  }
}
