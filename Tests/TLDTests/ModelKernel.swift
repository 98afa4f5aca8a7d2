// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A kernel to test the registry against: tasks, descriptors, task storage maps with
// their elements. It behaves as docs/reference/wire.md says, fails where a test wants it to, and
// writes down each breach of the rules that keep BPF from reading the wrong bytes:
//
// - memory that an element names is the memory of that element's task, at every call;
// - no element is taken over, or deleted, that somebody else made in a map which may
//   not be a data map at all, nor one of another process;
// - bytes are published for the thread that they are kept for, not for another life that
//   has its id by now;
// - a descriptor is used while it is open, by whoever opened it, and closed once;
// - the registry makes one call at a time, but for those about the program's descriptors.

import CTLD
import Synchronization

@testable import TLD

final class ModelKernel: Kernel, @unchecked Sendable {
  /// A call that can fail.
  enum Call: CaseIterable, Sendable {
    case info, duplicate, open, life, update, delete
  }

  /// One call: its kind, how many of that kind came before it, and what it is about.
  struct Event {
    let call: Call
    let index: Int
    let map: UInt32?
    let task: Int32?
  }

  /// A task's life: ids are reused, lives are not.
  typealias Life = Int

  struct Element {
    var bytes: [UInt8]
    /// Put there by another program.
    var isForeign = false

    var data: UInt { word(0) }
    var meta: UInt { word(8) }

    func word(_ offset: Int) -> UInt {
      bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt.self) }
    }
  }

  struct Map {
    var info: MapInfo
    /// Where in its value the kernel knows a UPTR; other addresses are numbers to it.
    var uptrs: Set<Int>
    var elements: [Life: Element] = [:]

    var isV1: Bool { info.valueSize == 16 }
    var isDataMap: Bool { uptrs == [0, 8] }
  }

  private enum Target: Equatable {
    case map(UInt32)
    case task(Int32, Life)
    /// What following a pin opens: a pin, events, a wake-up's ends.
    case other(String)
  }

  private struct Descriptor {
    let target: Target
    let isRegistrys: Bool
  }

  /// A block, as an element names it.
  private struct Place: Hashable {
    let life: Life
    let page: UInt
    let start: Int
  }

  /// What is at paths, and the watching thread.
  let pins = ModelPins()
  private let mutex = PosixMutex()
  private let callsUnderWay = Atomic<Int>(0)
  private var maps: [UInt32: Map] = [:]
  private var nextMap: UInt32 = 1
  private var tasks: [Int32: Life] = [:]
  private var ownLives: Set<Life> = []
  /// Tasks of other processes: no thread of ours, but pidfd_open(2) finds them.
  private var strangers: [Int32: Life] = [:]
  private var nextLife = 1
  private var descriptors: [Int32: Descriptor] = [:]
  /// How many bytes there are, as the metadata page said when they were first named.
  private var sizes: [Place: Int] = [:]
  private var sentinels: [Life: UInt64] = [:]
  private var counts: [Call: Int] = [:]
  private var current: TaskID?
  private var fault: ((Event) -> Int32?)?
  private var interruption: ((Call?) -> Void)?
  private var owner: ((UInt, Int) -> (life: Life?, size: Int)?)?
  private var allowsClosedMaps = false
  private var breaches: [String] = []
  private var yieldCount = 0
  private var isOld = false

  // MARK: - What tests do with it

  /// The task that calls; nil: whichever thread it really is.
  var calling: TaskID? {
    get { locked { current } }
    set { locked { current = newValue } }
  }

  /// Asked before each call; an errno makes it fail.
  func fail(_ fault: @escaping (Event) -> Int32?) { locked { self.fault = fault } }
  func failNoMore() { locked { fault = nil } }

  /// Done before each call reaches the kernel, by whoever calls; nil stands for close(2).
  /// What happens at the same time elsewhere, or a signal handler of the caller.
  func interrupt(_ interruption: @escaping (Call?) -> Void) { locked { self.interruption = interruption } }
  func interruptNoMore() { locked { interruption = nil } }

  /// Who says for which life the bytes at a page's address and start are kept, and how many.
  func askOwner(_ owner: @escaping (UInt, Int) -> (life: Life?, size: Int)?) { locked { self.owner = owner } }

  /// A number that was closed by intention may still be used: it gives EBADF, no more.
  func allowClosedMaps() { locked { allowsClosedMaps = true } }

  /// The calls of a kind so far, failed ones included.
  func count(_ call: Call) -> Int { locked { counts[call, default: 0] } }
  var yields: Int { locked { yieldCount } }
  var rulesBroken: [String] { locked { breaches } }
  func becomeOld() { locked { isOld = true } }

  func begin(_ task: Int32) {
    locked {
      precondition(tasks[task] == nil && strangers[task] == nil)
      tasks[task] = nextLife
      ownLives.insert(nextLife)
      nextLife += 1
    }
  }

  /// The task is gone, and its elements with it.
  func end(_ task: Int32) {
    locked {
      guard let life = tasks.removeValue(forKey: task) else { return }
      bury(life)
    }
  }

  /// A task of another process.
  func beginStranger(_ task: Int32) {
    locked {
      strangers[task] = nextLife
      nextLife += 1
    }
  }

  /// From now on this is the child of a fork, with one thread. The parent's threads,
  /// elements and descriptors of theirs live on; the child has copies of the latter.
  func fork(childTask: Int32) {
    locked {
      strangers.merge(tasks) { $1 }
      sentinels = [:]
      sizes = [:]
      ownLives = [nextLife]
      tasks = [childTask: nextLife]
      nextLife += 1
    }
  }

  /// A map with a descriptor of the program's.
  func makeMap(valueSize: Int, keySize: Int = 4, isTaskStorage: Bool = true, uptrs: Set<Int> = [0, 8])
    -> FileDescriptor {
    locked {
      let id = nextMap
      nextMap += 1
      maps[id] = Map(info: MapInfo(id: id, isTaskStorage: isTaskStorage, keySize: keySize,
                                   valueSize: valueSize), uptrs: uptrs)
      return newDescriptor(.map(id), isRegistrys: false)
    }
  }

  /// One more descriptor of the program's.
  func reopen(_ fd: FileDescriptor) -> FileDescriptor {
    locked { newDescriptor(descriptors[fd.number]!.target, isRegistrys: false) }
  }

  func closeProgrammes(_ fd: FileDescriptor) {
    locked { drop(fd) }
  }

  func id(of fd: FileDescriptor) -> UInt32 {
    locked {
      guard case .map(let id)? = descriptors[fd.number]?.target else { return 0 }
      return id
    }
  }

  /// What another program has put there.
  func putForeign(_ bytes: [UInt8], in fd: FileDescriptor, for task: Int32) {
    let id = id(of: fd)
    locked {
      maps[id]!.elements[life(of: task)!] = Element(bytes: bytes, isForeign: true)
    }
  }

  func element(_ map: UInt32, _ task: Int32) -> Element? {
    locked { life(of: task).flatMap { maps[map]?.elements[$0] } }
  }

  /// The data maps in which the task has an element.
  func dataMaps(with task: Int32) -> Set<UInt32> {
    locked {
      guard let life = life(of: task) else { return [] }
      return Set(maps.filter { $0.value.isDataMap && $0.value.elements[life] != nil }.keys)
    }
  }

  var elementCount: Int { locked { maps.values.reduce(0) { $0 + $1.elements.count } } }
  /// Without what other programs have put there.
  var ownElementCount: Int { locked { maps.values.reduce(0) { $0 + $1.elements.values.count { !$0.isForeign } } } }
  func life(_ task: Int32) -> Life? { locked { tasks[task] } }
  /// Some thread of the process.
  func anyThread(_ random: UInt64) -> Int32? {
    locked { tasks.isEmpty ? nil : Array(tasks.keys)[Int(random % UInt64(tasks.count))] }
  }
  func exists(map: UInt32) -> Bool { locked { maps[map] != nil } }

  /// The ids of the maps that the registry holds a descriptor of, one for each.
  var heldMaps: [UInt32] {
    locked {
      descriptors.values.compactMap {
        if case .map(let id) = $0.target, $0.isRegistrys { id } else { nil }
      }.sorted()
    }
  }

  var heldTaskDescriptors: Int {
    locked {
      descriptors.values.count { if case .task = $0.target { true } else { false } }
    }
  }

  /// The task has written this to its first data word, which nobody else may change
  /// while an element names it.
  func remember(_ word: UInt64, of task: Int32) {
    locked { if let life = tasks[task] { sentinels[life] = word } }
  }

  /// The task's data are about to be cleared.
  func forgetWord(of task: Int32) { locked { if let life = tasks[task] { sentinels[life] = nil } } }

  /// What BPF programs do: look up each task in each map, and read its data.
  func readEverything() {
    locked {
      for (id, map) in maps where map.isDataMap {
        for (life, element) in map.elements where !element.isForeign && ownLives.contains(life) {
          checkContent(element, in: id, of: life, "when BPF reads them")
        }
      }
    }
  }

  // MARK: - What the registry asks

  var currentTask: TaskID { calling ?? TaskID(number: ctld_gettid()) }
  var predatesUPTR: Bool { locked { isOld } }
  func yield() { locked { yieldCount += 1 } }
  func exists(_ task: TaskID) -> Bool { locked { tasks[task.number] != nil } }

  func info(of fd: FileDescriptor) throws(Errno) -> MapInfo {
    try call(.info) { () throws(Errno) in
      guard let descriptor = descriptors[fd.number] else { throw Errno(EBADF) }
      guard case .map(let id) = descriptor.target else { throw Errno(EINVAL) }
      try failIfWanted(.info, map: id)
      return maps[id]!.info
    }
  }

  func isOpen(_ fd: FileDescriptor, as map: UInt32) -> Bool {
    guard case .map(map) = descriptors[fd.number]?.target else { return false }
    return true
  }

  func duplicate(_ fd: FileDescriptor) throws(Errno) -> FileDescriptor {
    try call(.duplicate) { () throws(Errno) in
      guard let descriptor = descriptors[fd.number] else { throw Errno(EBADF) }
      guard case .map(let id) = descriptor.target else { fatalError("a duplicate of a pidfd") }
      try failIfWanted(.duplicate, map: id)
      return newDescriptor(descriptor.target, isRegistrys: true)
    }
  }

  func open(_ task: TaskID) throws(Errno) -> FileDescriptor {
    try call(.open) { () throws(Errno) in
      try failIfWanted(.open, task: task.number)
      guard let life = life(of: task.number) else { throw Errno(ESRCH) }
      return newDescriptor(.task(task.number, life), isRegistrys: true)
    }
  }

  func life(of fd: FileDescriptor) throws(Errno) -> TLD.Life {
    try call(.life) { () throws(Errno) in
      guard case .task(let number, let life)? = descriptors[fd.number]?.target else {
        breach("asked for the life of \(fd.number), which is no task")
        throw Errno(EBADF)
      }
      try failIfWanted(.life, task: number)
      return TLD.Life(number: UInt64(life))
    }
  }

  func close(_ fd: FileDescriptor) {
    try! call(nil) { () throws(Errno) in
      if allowsClosedMaps && descriptors[fd.number] == nil { return }
      guard let descriptor = descriptors[fd.number] else { return breach("closed \(fd.number), which is not open") }
      if !descriptor.isRegistrys { breach("closed \(fd.number), which is the program's") }
      drop(fd)
    }
  }

  func update(_ map: FileDescriptor, _ task: FileDescriptor, _ value: UnsafeRawPointer,
              _ mode: UpdateMode) throws(Errno) {
    try call(.update) { () throws(Errno) in
      let (id, number, life) = try targets(map, task)
      try failIfWanted(.update, map: id, task: number)
      guard isAlive(life) else { throw Errno(ENOENT) }
      let bytes = Array(UnsafeRawBufferPointer(start: value, count: maps[id]!.info.valueSize))
      let element = Element(bytes: bytes)
      try pin(element, maps[id]!.uptrs)  // before the flags are looked at
      let old = maps[id]!.elements[life]
      if mode == .insertOnly && old != nil { throw Errno(EEXIST) }
      if strangers[number] != nil { breach("an element of another process's task \(number)") }
      if maps[id]!.isDataMap {
        checkHandOver(element, in: id, to: life)
      } else if old?.isForeign == true {
        breach("map \(id), which is no data map: somebody's element overwritten")
      }
      maps[id]!.elements[life] = element
    }
  }

  func delete(_ map: FileDescriptor, _ task: FileDescriptor) throws(Errno) {
    try call(.delete) { () throws(Errno) in
      let (id, number, life) = try targets(map, task)
      try failIfWanted(.delete, map: id, task: number)
      guard isAlive(life), let element = maps[id]!.elements[life] else { throw Errno(ENOENT) }
      if strangers[number] != nil { breach("another process's element deleted, of task \(number)") }
      if maps[id]!.isDataMap {
        if !element.isForeign { checkContent(element, in: id, of: life, "when it is withdrawn") }
      } else if element.isForeign {
        breach("map \(id), which is no data map: somebody's element deleted")
      }
      maps[id]!.elements[life] = nil
    }
  }

  // MARK: - What following a pin opens

  func open(_ what: String) -> FileDescriptor { locked { newDescriptor(.other(what), isRegistrys: true) } }

  func what(_ fd: FileDescriptor) -> String? {
    locked {
      guard case .other(let what)? = descriptors[fd.number]?.target else { return nil }
      return what
    }
  }

  /// nil: the map is gone.
  func openObject(_ map: UInt32) -> FileDescriptor? {
    locked { maps[map] == nil ? nil : newDescriptor(.map(map), isRegistrys: true) }
  }

  var openOthers: [String] {
    locked { descriptors.values.compactMap { if case .other(let what) = $0.target { what } else { nil } }.sorted() }
  }

  // MARK: - Rules

  /// Every element that names the page of `element`: whose are these bytes?
  private func checkHandOver(_ element: Element, in id: UInt32, to life: Life) {
    let place = Place(life: life, page: element.data, start: start(of: element, in: id))
    let block = owner?(place.page, place.start)
    if let owner = block?.life, owner != life {
      breach("map \(id): the bytes of life \(owner) published for life \(life)")
    }
    if sizes[place] == nil {
      let size = UnsafeRawPointer(bitPattern: element.meta)!.load(fromByteOffset: 2, as: UInt16.self)
      // A block laid out before the page said so has fewer.
      sizes[place] = min(Int(size), block?.size ?? Int(size))
    }
    for (otherID, map) in maps where map.isDataMap {
      for (other, theirs) in map.elements where theirs.data == element.data {
        guard other != life, !theirs.isForeign, ownLives.contains(other) else { continue }
        if map.isV1 || maps[id]!.isV1 { breach("map \(otherID): two threads in one page, and a v1 map") }
        let theirPlace = Place(life: other, page: theirs.data, start: start(of: theirs, in: otherID))
        if bytes(of: theirPlace).overlaps(bytes(of: place)) {
          breach("map \(otherID) has bytes \(bytes(of: theirPlace)), given to another thread as \(bytes(of: place))")
        }
        checkContent(theirs, in: otherID, of: other, "when its page is handed out")
      }
    }
  }

  private func bytes(of place: Place) -> Range<Int> {
    place.start..<place.start + sizes[place, default: 0]
  }

  /// While an element is there, its task's data are where it says.
  private func checkContent(_ element: Element, in id: UInt32, of life: Life, _ when: String) {
    let start = start(of: element, in: id)
    guard let expected = sentinels[life] else { return }
    let found = UnsafeRawPointer(bitPattern: element.data + UInt(start))!
      .assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .relaxed)
    if found != expected { breach("map \(id): the data hold \(found), not \(expected), \(when)") }
  }

  private func start(of element: Element, in id: UInt32) -> Int {
    if maps[id]!.isV1 {
      let start = UnsafeRawPointer(bitPattern: element.data)!.load(as: UInt64.self)
      if start == 0 || start >= 4096 { breach("map \(id): data start at \(start)") }
      return start < 4096 ? Int(start) : 8
    }
    let start = element.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 16, as: UInt16.self) }
    if start == 0 { breach("map \(id): data start at 0") }
    return Int(start)
  }

  /// What the kernel does with UPTRs.
  private func pin(_ element: Element, _ uptrs: Set<Int>) throws(Errno) {
    for offset in uptrs.sorted() {
      let address = element.word(offset)
      if address == 0 { continue }
      if address >= 1 << 47 { throw Errno(EFAULT) }
      if address % 4096 != 0 { throw Errno(EOPNOTSUPP) }
    }
  }

  private func breach(_ text: String) {
    if breaches.count < 20 { breaches.append(text) }
  }

  // MARK: - Calls

  private func locked<T, E: Error>(_ body: () throws(E) -> T) throws(E) -> T { try mutex.locked(body) }

  private func call<T>(_ kind: Call?, _ body: () throws(Errno) -> T) throws(Errno) -> T {
    locked { interruption }?(kind)
    // To ask about a descriptor of the program's own needs no lock.
    if kind == .info { return try locked(body) }
    let others = callsUnderWay.add(1, ordering: .relaxed).oldValue
    defer { callsUnderWay.subtract(1, ordering: .relaxed) }
    return try locked { () throws(Errno) in
      if others != 0 { breach("two calls at once: the registry's lock does not exclude") }
      return try body()
    }
  }

  private func failIfWanted(_ call: Call, map: UInt32? = nil, task: Int32? = nil) throws(Errno) {
    let index = counts[call, default: 0]
    counts[call] = index + 1
    if let code = fault?(Event(call: call, index: index, map: map, task: task)) { throw Errno(code) }
  }

  private func targets(_ map: FileDescriptor, _ task: FileDescriptor) throws(Errno) -> (UInt32, Int32, Life) {
    if allowsClosedMaps && descriptors[map.number] == nil { throw Errno(EBADF) }
    guard let mapFD = descriptors[map.number], let taskFD = descriptors[task.number],
          case .map(let id) = mapFD.target, case .task(let number, let life) = taskFD.target
    else {
      breach("used \(map.number) and \(task.number), which are not a map and a task")
      throw Errno(EBADF)
    }
    if !mapFD.isRegistrys { breach("used \(map.number), which the program may close at any time") }
    return (id, number, life)
  }

  /// The lowest number that is free, as in a process.
  private func newDescriptor(_ target: Target, isRegistrys: Bool) -> FileDescriptor {
    var number: Int32 = 3
    while descriptors[number] != nil { number += 1 }
    descriptors[number] = Descriptor(target: target, isRegistrys: isRegistrys)
    return FileDescriptor(number: number)
  }

  private func life(of task: Int32) -> Life? { tasks[task] ?? strangers[task] }

  private func isAlive(_ life: Life) -> Bool {
    ownLives.contains(life) || strangers.values.contains(life)
  }

  private func bury(_ life: Life) {
    ownLives.remove(life)
    for id in maps.keys { maps[id]!.elements[life] = nil }
    sentinels[life] = nil
    sizes = sizes.filter { $0.key.life != life }
  }

  /// A map ends with its last descriptor.
  private func drop(_ fd: FileDescriptor) {
    let target = descriptors.removeValue(forKey: fd.number)?.target
    guard case .map(let id)? = target, !descriptors.values.contains(where: { $0.target == target }) else { return }
    maps[id] = nil
  }
}
