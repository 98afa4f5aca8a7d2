// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Who is published where, and whose memory is whose, one call after the other.

import CTLD
import Glibc
import Testing

@testable import TLD

/// A data map of each format; what is behind a native map's first 24 bytes is BPF's.
private let valueSizes = [16, 24, 25, 32, 512, 4000]

@Suite struct ThreadRegistryTests {
  // MARK: Publishing

  @Test("a thread's first call publishes page, metadata and start, in each format",
        arguments: valueSizes, pageSizes)
  func publishes(valueSize: Int, pageSize: Int) throws {
    let process = ModelProcess(pageSize: pageSize)
    let map = process.kernel.makeMap(valueSize: valueSize)
    for task in 10..<20 as Range<Int32> {
      let thread = process.thread(task)
      #expect(try thread.enter(map), "it was registered before")
      #expect(thread.word == 0)
      thread.write(UInt64(task))
      thread.expectPublished(in: map)
      process.expectSound()
    }
    #expect(process.kernel.elementCount == 10)
  }

  @Test("after the first call the fast path needs no call")
  func fastPath() throws {
    let process = ModelProcess()
    let second = try process.createKey("second", size: 13, budget: 48)
    let map = process.kernel.makeMap(valueSize: 24)
    let other = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    #expect(thread.fastPath(map, 0) == nil)
    try thread.enter(map)
    #expect(thread.fastPath(map, 0) == thread.base)
    #expect(thread.fastPath(map, 8) == thread.base + second.offset)
    #expect(thread.shared.pointee.limit == 21, "the end of the second TLD")
    #expect(thread.fastPath(map, 21) == nil)
    #expect(thread.fastPath(map, -1) == nil && thread.fastPath(map, Int16(-EEXIST)) == nil)
    #expect(thread.fastPath(other, 0) == nil)
    try thread.enter(other)
    #expect(thread.fastPath(other, 0) == thread.base)
  }

  @Test("a TLD created later is within the limit after its first use")
  func limitRises() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.enter(map)
    let base = thread.base
    let later = try process.createKey("later", size: 40, budget: 48)
    #expect(thread.fastPath(map, 8) == nil)
    #expect(try !thread.enter(map, later))
    #expect(thread.fastPath(map, 8) == base + 8)
    #expect(thread.shared.pointee.limit == 48)
  }

  @Test("a thread is seen through each map that it passes, with one block")
  func severalMaps() throws {
    let process = ModelProcess()
    let maps = [16, 24, 64, 24, 16, 4000].map { process.kernel.makeMap(valueSize: $0) }
    let threads = (10..<15).map { process.thread($0) }
    for (i, map) in maps.enumerated() {
      for thread in threads {
        let before = thread.isRegistered ? thread.base : nil
        #expect(try thread.enter(map) == (i == 0))
        thread.write(UInt64(thread.task))
        #expect(before == nil || before == thread.base)
        #expect(thread.mapFD == map.number)
      }
    }
    for thread in threads {
      for map in maps { thread.expectPublished(in: map) }
    }
    process.expectSound()
    #expect(process.servedMaps.count == 6)
  }

  @Test("what is published already is not published again, for a reader could miss it")
  func publishedOnce() throws {
    let process = ModelProcess()
    let maps = [24, 32].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    for map in maps { try thread.enter(map) }
    let updates = process.kernel.count(.update)
    for map in maps + maps { try thread.enter(map) }
    #expect(process.kernel.count(.update) == updates)
    #expect(process.kernel.count(.delete) == 0)
  }

  @Test("two descriptors of one map are one map")
  func sameMap() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let again = process.kernel.reopen(map)
    let thread = process.thread(10)
    try thread.enter(map)
    try thread.enter(again)
    #expect(thread.mapFD == again.number)
    #expect(process.servedMaps.count == 1)
    process.expectSound()
  }

  @Test("a map stays while threads are published in it, though the program closed it")
  func ownDescriptor() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let id = process.kernel.id(of: map)
    let threads = (10..<12).map { process.thread($0) }
    for thread in threads { try thread.enter(map) }
    process.kernel.closeProgrammes(map)
    threads[0].exit()
    #expect(process.kernel.exists(map: id))
    #expect(threads[1].unpublished(in: id) == nil)
    threads[1].exit()
    #expect(!process.kernel.exists(map: id), "the duplicate is still open")
    process.expectSound()
  }

  @Test("a map once seen to have UPTRs is not tried again")
  func confirmedOnce() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    try process.thread(10).enter(map)
    let updates = process.kernel.count(.update)
    for task in 11..<20 as Range<Int32> { try process.thread(task).enter(map) }
    #expect(process.kernel.count(.update) == updates + 9)
  }

  // MARK: Blocks

  @Test("with maps that say where data start, threads share pages; with a v1 map each has its own")
  func universalOrPacked() throws {
    let process = ModelProcess()
    let v2 = process.kernel.makeMap(valueSize: 24)
    let v1 = process.kernel.makeMap(valueSize: 16)
    let packed = (10..<20).map { process.thread($0) }
    for thread in packed { try thread.enter(v2) }
    #expect(Set(packed.map(\.block.pageAddress)).count == 1)

    let v1Reader = process.thread(20)
    try v1Reader.enter(v1)
    let later = (21..<25).map { process.thread($0) }
    for thread in later { try thread.enter(v2) }
    for thread in later + [v1Reader] {
      #expect(thread.block.isUniversal)
      #expect(thread.base.address % 4096 == 8)
      #expect((thread.base - 8).word(at: 0, as: UInt64.self) == 8)
    }
    #expect(Set((later + [v1Reader]).map(\.block.pageAddress)).count == 5)

    for thread in later { try thread.enter(v1) }
    v1Reader.exit()
    for thread in later { thread.exit() }
    let afterwards = process.thread(30)
    try afterwards.enter(v2)
    #expect(!afterwards.block.isUniversal, "no v1 map is known any more")
    process.expectSound()
  }

  @Test("a packed block cannot be described to a v1 map: EXDEV for that thread, new ones work")
  func packedAndV1() throws {
    let process = ModelProcess()
    let v2 = process.kernel.makeMap(valueSize: 24)
    let v1 = process.kernel.makeMap(valueSize: 16)
    let early = process.thread(10)
    let neighbour = process.thread(11)
    for thread in [early, neighbour] { try thread.enter(v2) }
    for thread in [early, neighbour] {
      #expect(errno { () throws(Errno) in try thread.enter(v1) } == EXDEV)
      #expect(thread.mapFD == v2.number, "a refused call changed the fast path")
      thread.expectPublished(in: v2)
      thread.expectAbsent(from: v1)
    }
    #expect(process.servedMaps.count == 1)
    let late = process.thread(12)
    try late.enter(v1)
    try late.enter(v2)
    late.expectPublished(in: v1, v2)
    process.expectSound()
  }

  @Test("a TLD that does not fit a block laid out before it is E2BIG, the others stay usable")
  func tooBigForBlock() throws {
    let process = ModelProcess(budget: 48)
    let map = process.kernel.makeMap(valueSize: 24)
    let other = process.kernel.makeMap(valueSize: 24)
    let early = process.thread(10)
    try early.enter(map)
    #expect(early.block.size == 64)
    let fits = try process.createKey("fits", size: 48, budget: 56)
    let large = try process.createKey("large", size: 1, budget: 64)
    #expect(try !early.enter(map, fits), "8 + 48 bytes end at the block's last byte")
    for fd in [map, other] { #expect(errno { () throws(Errno) in try early.enter(fd, large) } == E2BIG) }
    #expect(early.shared.pointee.limit == 56 && early.mapFD == map.number)
    #expect(early.fastPath(map, 56) == nil)
    early.expectAbsent(from: other)
    early.expectPublished(in: map)
    let late = process.thread(11)
    try late.enter(map, large)
    #expect(late.fastPath(map, 56) == late.base + 56)
    process.expectSound()
  }

  @Test("a page whose size field was overwritten gives E2BIG and leaves nothing behind")
  func hostileSize() throws {
    let process = ModelProcess()
    let entry = try process.createKey("large", size: 500, budget: 600)
    process.keys.page!.size = 0
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    #expect(errno { () throws(Errno) in try thread.enter(map, entry) } == E2BIG)
    #expect(!thread.isRegistered && process.records.isEmpty && process.kernel.elementCount == 0)
    process.keys.page!.size = 65_535
    try thread.enter(map, entry)
    thread.expectPublished(in: map)
    process.expectSound()
  }

  // MARK: Leaving

  @Test("a thread that leaves is in no map any more, and its fast path is closed")
  func leaving() throws {
    let process = ModelProcess()
    let maps = [16, 24, 100].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    let other = process.thread(11)
    for (i, map) in maps.enumerated() {
      try thread.enter(map)
      if i == 1 { try other.enter(map) }
    }
    other.write(11)
    thread.leave()
    for map in maps {
      thread.expectAbsent(from: map)
      #expect(thread.fastPath(map, 0) == nil)
    }
    #expect(!thread.isRegistered)
    other.expectPublished(in: maps[1])
    #expect(process.servedMaps.map(\.id) == [process.kernel.id(of: maps[1])])
    process.expectSound()
    thread.leave()
    process.expectSound()
  }

  @Test("a thread that leaves in a destructor and uses a TLD in a later one is cleaned again")
  func leavingTwice() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    for _ in 0..<4 {
      #expect(try thread.enter(map), "the caller must be told to clean up once more")
      thread.expectPublished(in: map)
      thread.leave()
      thread.expectAbsent(from: map)
    }
    #expect(process.records.isEmpty && process.usedPages == 0)
    process.expectSound()
  }

  @Test("a thread that frees its data is found nowhere, and gets the same memory again, zeroed")
  func freeing() throws {
    let process = ModelProcess(budget: 3000)
    let maps = [24, 40].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    let neighbour = process.thread(11)
    for map in maps {
      try thread.enter(map)
      try neighbour.enter(map)
    }
    neighbour.write(11)
    for _ in 0..<3 {
      let base = thread.base
      memset(base, 0xFF, thread.block.dataSize)
      thread.withdrawAndClear()
      for map in maps {
        thread.expectAbsent(from: map)
        neighbour.expectPublished(in: map)
        #expect(thread.fastPath(map, 0) == nil)
      }
      #expect(try !thread.enter(maps[1]), "its destructor is arranged for already")
      #expect(thread.base == base)
      #expect(base.isZero(thread.block.dataSize))
      thread.expectPublished(in: maps[1])
      thread.expectAbsent(from: maps[0])
      #expect(neighbour.word == 11)
    }
    thread.withdrawAndClear()
    thread.withdrawAndClear()
    process.expectSound()
  }

  @Test("a thread without memory may free and leave as often as it likes")
  func nothingToFree() {
    let process = ModelProcess()
    let thread = process.thread(10)
    thread.leave()
    thread.withdrawAndClear()
    thread.leave()
    #expect(ModelKernel.Call.allCases.allSatisfy { process.kernel.count($0) == 0 })
  }

  // MARK: The table of maps

  @Test("with a ninth map the oldest gives way, and its threads are sent to the library again")
  func ninthMap() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { process.kernel.makeMap(valueSize: [16, 24, 80][$0 % 3]) }
    let threads = (10..<14).map { process.thread($0) }
    for thread in threads {
      for map in maps[..<8] { try thread.enter(map) }
      thread.write(UInt64(thread.task))
    }
    try threads[1].enter(maps[0])
    try threads[2].enter(maps[3])
    #expect(process.servedMaps.count == 8)

    try threads[0].enter(maps[8])
    for thread in threads {
      thread.expectAbsent(from: maps[0])
      for map in maps[1..<8] { thread.expectPublished(in: map) }
    }
    #expect(threads[1].fastPath(maps[0], 0) == nil, "it would not notice that it is unpublished")
    threads[0].expectPublished(in: maps[8])
    threads[1].expectAbsent(from: maps[8])
    #expect(process.servedMaps.count == 8)
    process.expectSound()

    try threads[1].enter(maps[0])  // and now the second oldest
    threads[1].expectPublished(in: maps[0])
    for thread in threads { thread.expectAbsent(from: maps[1]) }
    process.expectSound()
    for thread in threads { thread.exit() }
    #expect(process.servedMaps.isEmpty && process.kernel.heldMaps.isEmpty)
    process.expectSound()
  }

  @Test("threads that vanished do not keep the oldest map in its place, and are not written to")
  func ninthMapAndVanished() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { process.kernel.makeMap(valueSize: [24, 80][$0 % 2]) }
    let gone = process.thread(10)
    let thread = process.thread(11)
    for map in maps[..<8] {
      try gone.enter(map)
      try thread.enter(map)
    }
    gone.vanish()
    let after = gone.mapFD
    try thread.enter(maps[8])
    #expect(gone.mapFD == after)
    thread.expectPublished(in: maps[8])
    thread.expectAbsent(from: maps[0])
    process.expectSound()
  }

  @Test("a map loaded and destroyed a thousand times costs nothing")
  func thousandMaps() throws {
    let process = ModelProcess()
    let thread = process.thread(10)
    let other = process.thread(11)
    let stays = process.kernel.makeMap(valueSize: 24)
    try other.enter(stays)
    for round in 0..<1000 {
      let map = process.kernel.makeMap(valueSize: [16, 24, 48][round % 3])
      let id = process.kernel.id(of: map)
      try thread.enter(map)
      thread.expectPublished(in: map)
      if round % 2 == 0 { thread.leave() } else { thread.withdrawAndClear() }
      process.kernel.closeProgrammes(map)
      #expect(!process.kernel.exists(map: id))
      if thread.isRegistered { thread.leave() }
    }
    #expect(process.kernel.heldMaps == [process.kernel.id(of: stays)])
    #expect(process.usedPages == 1)
    process.expectSound()
  }

  @Test("a thousand maps that nobody withdraws from are never more than eight")
  func manyMaps() throws {
    let process = ModelProcess()
    let thread = process.thread(10)
    for _ in 0..<1000 {
      let map = process.kernel.makeMap(valueSize: 24)
      try thread.enter(map)
      thread.expectPublished(in: map)
      process.kernel.closeProgrammes(map)
    }
    #expect(process.kernel.heldMaps.count == 8)
    process.expectSound()
  }

  // MARK: Maps that are none

  @Test("what is not a map at all, or not open, is refused by the kernel's errno")
  func notAMap() {
    let process = ModelProcess()
    let thread = process.thread(10)
    #expect(errno { () throws(Errno) in try thread.enter(FileDescriptor(number: 99)) } == EBADF)
    #expect(errno { () throws(Errno) in try thread.enter(FileDescriptor(number: -1)) } == EBADF)
    #expect(errno { () throws(Errno) in try thread.enter(FileDescriptor(number: .min)) } == EBADF)
    #expect(!thread.isRegistered && process.pages == 0)
    process.expectSound()
  }

  @Test("a map of another type, key or value size is EINVAL, and nobody's element is touched")
  func otherMaps() {
    let process = ModelProcess()
    let thread = process.thread(10)
    for (valueSize, keySize, isTaskStorage) in [
      (24, 4, false), (24, 8, true), (24, 0, true), (0, 4, true), (8, 4, true), (15, 4, true),
      (17, 4, true), (20, 4, true), (23, 4, true),
    ] {
      let map = process.kernel.makeMap(valueSize: valueSize, keySize: keySize, isTaskStorage: isTaskStorage)
      #expect(errno { () throws(Errno) in try thread.enter(map) } == EINVAL)
    }
    #expect(process.kernel.count(.update) == 0 && process.kernel.count(.duplicate) == 0)
    #expect(!thread.isRegistered && process.servedMaps.isEmpty)
    process.expectSound()
  }

  @Test("a map of the right size whose two pointers are not both UPTRs is refused, whoever is in it",
        arguments: [16, 24, 32], [[], [0], [8], [16]] as [Set<Int>])
  func mapWithoutUPTRs(valueSize: Int, uptrs: Set<Int>) throws {
    let process = ModelProcess()
    let fake = process.kernel.makeMap(valueSize: valueSize, uptrs: uptrs.filter { $0 < valueSize - 7 })
    let fakeID = process.kernel.id(of: fake)
    let mine = process.thread(10)
    let other = process.thread(11)
    let theirs = (0..<valueSize).map { UInt8($0 + 1) }
    process.kernel.putForeign(theirs, in: fake, for: 11)
    let good = process.kernel.makeMap(valueSize: valueSize)
    for thread in [mine, other] {
      for isRegistered in [false, true] {
        #expect(errno { () throws(Errno) in try thread.enter(fake) } == EINVAL)
        #expect(thread.isRegistered == isRegistered)
        #expect(process.kernel.element(fakeID, 10) == nil, "an element was left behind")
        #expect(process.kernel.element(fakeID, 11)?.bytes == theirs)
        #expect(!process.kernel.heldMaps.contains(fakeID))
        if isRegistered { thread.expectPublished(in: good) } else { try thread.enter(good) }
      }
    }
    #expect(process.kernel.rulesBroken.isEmpty)
  }

  @Test("on a kernel from before UPTR a map of the right size is EOPNOTSUPP, another still EINVAL")
  func oldKernel() {
    let process = ModelProcess()
    process.kernel.becomeOld()
    let thread = process.thread(10)
    for (valueSize, code) in [(16, EOPNOTSUPP), (24, EOPNOTSUPP), (100, EOPNOTSUPP), (8, EINVAL)] {
      let map = process.kernel.makeMap(valueSize: valueSize, uptrs: [])
      #expect(errno { () throws(Errno) in try thread.enter(map) } == code)
    }
    #expect(!thread.isRegistered && process.kernel.elementCount == 0 && process.kernel.heldMaps.isEmpty)
    process.expectSound()
  }

  @Test("an element that another image of the program left in a data map is replaced")
  func staleElement() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 32)
    let thread = process.thread(10)
    process.kernel.putForeign((0..<32).map { UInt8($0) }, in: map, for: 10)
    try thread.enter(map)
    thread.expectPublished(in: map)
  }

  // MARK: Reuse

  @Test("memory of threads that ended serves those that come, however many there were",
        arguments: valueSizes)
  func memoryIsReused(valueSize: Int) throws {
    let process = ModelProcess(budget: 900)  // four in a page, at most
    let map = process.kernel.makeMap(valueSize: valueSize)
    var alive: [ModelThread] = []
    for task in 10..<610 as Range<Int32> {
      let thread = process.thread(task)
      try thread.enter(map)
      #expect(thread.word == 0, "somebody else's data")
      memset(thread.base, 0xFF, thread.block.dataSize)
      thread.write(UInt64(task))
      alive.append(thread)
      if alive.count == 20 { alive.remove(at: Int(task) * 7 % 20).exit() }
    }
    #expect(process.pages < 64)
    for thread in alive {
      #expect(thread.word == UInt64(thread.task))
      thread.exit()
    }
    #expect(process.usedPages == 0 && process.kernel.elementCount == 0)
    process.expectSound()
  }

  @Test("threads that vanish without a word give their memory back", arguments: [16, 24])
  func vanishedThreads(valueSize: Int) throws {
    let process = ModelProcess(budget: 3000)  // a page each
    let map = process.kernel.makeMap(valueSize: valueSize)
    let stays = process.thread(9)
    try stays.enter(map)
    stays.write(9)
    for task in 10..<1010 as Range<Int32> {
      let thread = process.thread(task)
      try thread.enter(map)
      #expect(thread.word == 0)
      thread.write(UInt64(task))
      thread.vanish()
    }
    #expect(process.pages < 64, "\(process.pages) pages for two threads")
    #expect(stays.word == 9)
    stays.expectPublished(in: map)
    process.expectSound()
  }

  @Test("a thread whose id belonged to one that vanished is a thread of its own")
  func reusedID() throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    for round in 0..<200 {
      let thread = process.thread(10)
      #expect(try thread.enter(map))
      #expect(thread.word == 0)
      thread.write(UInt64(1000 + round))
      thread.expectPublished(in: map)
      thread.vanish()
    }
    #expect(process.pages < 64)
    process.expectSound()
  }

  // MARK: Withdrawals that fail

  @Test("while an element cannot be removed its page serves nobody else; with the task's end it does",
        arguments: [16, 24])
  func stuckElement(valueSize: Int) throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: valueSize)
    let stuck = process.thread(10)
    try stuck.enter(map)
    stuck.write(10)
    let page = stuck.block.pageAddress
    process.kernel.fail { $0.call == .delete && $0.task == 10 ? EPERM : nil }
    stuck.leave()
    #expect(!stuck.isRegistered && stuck.fastPath(map, 0) == nil)

    var others: [ModelThread] = []
    for task in 11..<140 as Range<Int32> {
      let thread = process.thread(task)
      try thread.enter(map)
      thread.write(UInt64(task))
      #expect(thread.block.pageAddress != page)
      others.append(thread)
    }
    #expect(stuck.word == 10)
    process.expectSound()
    process.kernel.end(10)

    for task in 140..<1000 as Range<Int32> where others.last!.block.pageAddress != page {
      let thread = process.thread(task)
      try thread.enter(map)
      thread.write(UInt64(task))
      others.append(thread)
    }
    #expect(others.contains { $0.block.pageAddress == page }, "the page was never used again")
    for thread in others { thread.exit() }
    #expect(process.usedPages == 0 && process.records.isEmpty && process.kernel.heldMaps.isEmpty)
    process.expectSound()
  }

  @Test("a thread that has no descriptor left when it ends keeps its element and its page until it is gone",
        arguments: [EMFILE, ENFILE, ENOMEM])
  func noDescriptorAtTheEnd(code: Int32) throws {
    let process = ModelProcess(budget: 3000)
    let maps = [24, 32].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    for map in maps { try thread.enter(map) }
    thread.write(10)
    process.kernel.fail { $0.call == .open ? code : nil }
    thread.leave()
    process.kernel.failNoMore()
    #expect(process.records.count == 1 && process.usedPages == 1)
    process.expectSound()
    process.kernel.end(10)
    for task in 11..<200 as Range<Int32> {
      let next = process.thread(task)
      try next.enter(maps[0])
      next.exit()
    }
    let all = (200..<300).map { process.thread($0) }
    for next in all { try next.enter(maps[0]) }
    #expect(process.records.count == 100, "the ended thread's record is still there")
    for next in all { next.exit() }
    #expect(process.usedPages == 0 && process.kernel.heldMaps.isEmpty)
    process.expectSound()
  }

  @Test("of several elements those that can be removed are, when a thread leaves")
  func partlyStuck() throws {
    let process = ModelProcess()
    let maps = (0..<4).map { _ in process.kernel.makeMap(valueSize: 24) }
    let bad = process.kernel.id(of: maps[1])
    let thread = process.thread(10)
    for map in maps { try thread.enter(map) }
    process.kernel.fail { $0.call == .delete && $0.map == bad ? EPERM : nil }
    thread.leave()
    thread.expectAbsent(from: maps[0], maps[2], maps[3])
    #expect(process.kernel.heldMaps == [bad])
    process.expectSound()
  }

  @Test("data that could not be withdrawn are cleared all the same, and published once more on request")
  func stuckFree() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.enter(map)
    thread.base.storeBytes(of: 7, as: UInt64.self)
    let base = thread.base
    process.kernel.fail { $0.call == .delete ? EPERM : nil }
    thread.withdrawAndClear()
    process.kernel.failNoMore()
    #expect(thread.word == 0 && thread.fastPath(map, 0) == nil)
    try thread.enter(map)
    #expect(thread.base == base)
    thread.expectPublished(in: map)
    thread.exit()
    #expect(process.usedPages == 0)
    process.expectSound()
  }

  // MARK: Fork

  @Test("a forked child keeps its one thread's values, has nothing published, and can publish anew",
        arguments: [16, 24])
  func child(valueSize: Int) throws {
    let process = ModelProcess()
    let maps = [valueSize, 40].map { process.kernel.makeMap(valueSize: $0) }
    let threads = (10..<15).map { process.thread($0) }
    for thread in threads {
      for map in maps { try thread.enter(map) }
      thread.write(UInt64(thread.task))
    }
    let forking = threads[2]
    let base = forking.base
    let elements = threads.map { process.kernel.element(process.kernel.id(of: maps[0]), $0.task)?.bytes }

    process.registry.lockForFork()
    let child = process.fork(forking, childTask: 50)
    process.registry.resetInChild(child.calling)
    #expect(child.fastPath(maps[0], 0) == nil && child.fastPath(maps[1], 0) == nil && child.fastPath(0) == nil)
    #expect(process.kernel.dataMaps(with: 50).isEmpty)
    #expect(process.servedMaps.count == 2, "it forgot the maps that its thread uses")
    #expect(process.records.map(\.task.number) == [50])
    #expect(forking.base == base && forking.word == 12)
    process.expectSound()

    #expect(try !child.enter(maps[1]), "the child's thread has a destructor already")
    #expect(child.base == base && child.word == 12)
    child.expectPublished(in: maps[0], maps[1])
    let newcomers = (51..<60).map { process.thread($0) }
    for thread in newcomers {
      try thread.enter(maps[1])
      #expect(thread.word == 0)
      thread.write(UInt64(thread.task))
    }
    #expect(child.word == 12)
    child.exit()
    for thread in newcomers { thread.exit() }
    #expect(process.usedPages == 0, "the memory of the parent's other threads is lost")
    for (thread, bytes) in zip(threads, elements) {
      #expect(process.kernel.element(process.kernel.id(of: maps[0]), thread.task)?.bytes == bytes)
    }
    process.expectSound()
  }

  @Test("a child forked by a thread without memory frees all there was")
  func childOfBystander() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    for task in 10..<20 as Range<Int32> { try process.thread(task).enter(map) }
    let bystander = process.thread(20)
    process.registry.lockForFork()
    let child = process.fork(bystander, childTask: 50)
    process.registry.resetInChild(child.calling)
    #expect(process.records.isEmpty && process.usedPages == 0 && process.kernel.heldMaps.isEmpty)
    #expect(try child.enter(map))
    child.expectPublished(in: map)
    process.expectSound()
  }

  @Test("the parent of a fork goes on as before")
  func parent() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.enter(map)
    process.registry.lockForFork()
    process.registry.unlockAfterFork()
    thread.expectPublished(in: map)
    try process.thread(11).enter(map)
    process.expectSound()
  }
}
