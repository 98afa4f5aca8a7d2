// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The file that RecordingWriter writes, taken apart and checked: report never works with an
// index that leads nowhere, or a time before its beginning.

extension Recording {
  /// `title` is what the file is called in messages.
  public init(file bytes: [UInt8], title: String) throws(Failure) {
    do {
      var scanner = JSONScanner(bytes), parts = RecordingParts()
      try parts.take(&scanner)
      self = try parts.checked(scanner)
    } catch let fault as JSONFault {
      throw Failure(
        .other, "\(title) is no recording", why: "line \(fault.line): \(fault.words)",
        advice: "make one by 'tldctl record -o FILE NAME'")
    } catch {
      throw Failure(.other, "\(title) is no recording", why: "\(error)")
    }
  }

}

/// A file's parts, until all are there. Stretches have ids of tasks and values.
private struct RecordingParts {
  private var recording = Recording()
  private var version = 0
  private var taskIDs: [Int] = [], valueIDs: [Int] = []

  private static let required: Set<String> = [
    "format", "version", "name", "cpus", "columns", "stretches", "tasks", "values", "lost", "duration_ns",
  ]

  mutating func take(_ scanner: inout JSONScanner) throws {
    var found = Set<String>()
    try scanner.object { scanner, name in
      guard found.insert(name).inserted else { throw scanner.fault("'\(escaped(name))' is there twice") }
      try take(name, &scanner)
    }
    try scanner.end()
    guard found.isSuperset(of: Self.required) else {
      throw scanner.fault("'\(Self.required.subtracting(found).sorted()[0])' is missing")
    }
  }

  private mutating func take(_ field: String, _ scanner: inout JSONScanner) throws {
    switch field {
    case "format":
      guard try scanner.string() == Recording.format else { throw scanner.fault("its format is another one") }
    case "version":
      version = try scanner.integer()
      guard (1...Recording.version).contains(version) else { throw scanner.fault("it was made by another version of tldctl") }
    case "tool": recording.header.tool = try scanner.string()
    case "kernel": recording.header.kernel = try scanner.string()
    case "name": recording.header.name = try scanner.escapedBytes()
    case "pid": if !scanner.isNull() { recording.header.pid = try scanner.integer() }
    case "began_ns": recording.header.began = try scanner.integer()
    case "sample_hz": recording.header.sampleRate = try scanner.integer()
    case "cpus": try scanner.array { recording.header.cpus.append(try $0.processor()) }
    case "maps": try scanner.array { recording.header.maps.append(try RecordedMap(&$0)) }
    case "columns":
      var columns: [String] = []
      try scanner.array { columns.append(try $0.string()) }
      guard columns == Recording.columns else { throw scanner.fault("its columns are others") }
    case "stretches": try scanner.array { recording.stretches.append(try Stretch(&$0)) }
    case "tasks": try scanner.array { recording.tasks.append(try RecordedTask(&$0, id: { taskIDs.append($0) })) }
    case "values": try scanner.array { recording.values.append(try RecordedValue(&$0, id: { valueIDs.append($0) })) }
    case "lost": try scanner.array { recording.end.lost.append(try Lost(&$0)) }
    case "missed": recording.end.missed = try scanner.integer()
    case "duration_ns": recording.end.duration = try scanner.time()
    default: try scanner.skip()
    }
  }

  /// What only the whole can tell.
  consuming func checked(_ scanner: JSONScanner) throws -> Recording {
    let tasks = try Indices(taskIDs, of: recording.tasks.count, version, scanner)
    let values = try Indices(valueIDs, of: recording.values.count, version, scanner)
    var seen = Set(recording.header.cpus)
    for number in recording.stretches.indices {
      let stretch = recording.stretches[number]
      guard stretch.value != nil else { throw scanner.fault("a stretch is without a value") }
      guard stretch.begin <= stretch.end else { throw scanner.fault("a stretch ends before it begins") }
      recording.stretches[number].task = try tasks[stretch.task]
      recording.stretches[number].before = try stretch.before.map { id throws in try values[id] }
      recording.stretches[number].after = try stretch.after.map { id throws in try values[id] }
      recording.end.duration = max(recording.end.duration, stretch.end)
      seen.insert(stretch.cpu)
    }
    recording.header.cpus = seen.sorted()
    return recording
  }
}

/// Where ids lead.
private struct Indices {
  private let scanner: JSONScanner
  private let count: Int
  /// nil: ids are indices, as in version 1, where none leads to the others.
  private var known: [Int: Int]?

  init(_ ids: [Int], of count: Int, _ version: Int, _ scanner: JSONScanner) throws {
    self.scanner = scanner
    self.count = count
    guard version > 1 else { return }
    guard ids.count == count else { throw scanner.fault("a task or a value has not one id") }
    known = Dictionary(zip(ids, 0...), uniquingKeysWith: { first, _ in first })
    guard known?.count == count else { throw scanner.fault("two tasks or two values have the same id") }
  }

  /// Those of different others are different.
  subscript(id: Int) -> Int {
    get throws {
      if let known { return known[id] ?? count + id }
      guard id < count else { throw scanner.fault("a stretch is of a task or a value that is not there") }
      return id
    }
  }
}

extension JSONScanner {
  /// Text that `escaped` made.
  fileprivate mutating func escapedBytes() throws -> [UInt8] {
    let text = try string()
    guard let bytes = unescaped(text) else { throw fault("'\(escaped(text))' is not escaped as it should be") }
    return bytes
  }

  fileprivate mutating func processor() throws -> Int {
    let number: UInt16 = try integer()
    return Int(number)
  }

  /// Nanoseconds, no more than a double can hold.
  fileprivate mutating func time() throws -> UInt64 {
    let time: UInt64 = try integer()
    guard time <= 1 << 53 else { throw fault("a time is too large") }
    return time
  }

  /// No more than a double can hold.
  fileprivate mutating func id() throws -> Int { Int(try time()) }
}

extension Stretch {
  fileprivate init(_ scanner: inout JSONScanner) throws {
    self.init(begin: 0, end: 0, cpu: 0, task: 0, before: nil, after: nil, ran: 0)
    var column = 0
    try scanner.array { scanner in
      switch column {
      case 0: begin = try scanner.time()
      case 1: end = try scanner.time()
      case 2: cpu = try scanner.processor()
      case 3: task = try scanner.id()
      case 4: before = scanner.isNull() ? nil : try scanner.id()
      case 5: after = scanner.isNull() ? nil : try scanner.id()
      case 6: ran = try scanner.time()
      case 7: wakeup = scanner.isNull() ? nil : try scanner.time()
      case 8: isSample = try scanner.integer() as UInt8 != 0
      default: throw scanner.fault("a row is too long")
      }
      column += 1
    }
    guard column == Recording.columns.count else { throw scanner.fault("a row is too short") }
  }
}

extension RecordedTask {
  fileprivate init(_ scanner: inout JSONScanner, id take: (Int) -> Void) throws {
    self.init(tid: 0, pid: 0, started: 0, comm: [], process: [])
    try scanner.object { scanner, name in
      switch name {
      case "id": take(try scanner.id())
      case "tid": tid = try scanner.integer()
      case "pid": pid = try scanner.integer()
      case "started_ns": started = try scanner.integer()
      case "comm": comm = try scanner.escapedBytes()
      case "process": process = try scanner.escapedBytes()
      default: try scanner.skip()
      }
    }
  }
}

extension RecordedMap {
  fileprivate init(_ scanner: inout JSONScanner) throws {
    var id: UInt32 = 0, own: [UInt8] = [], format = ""
    try scanner.object { scanner, name in
      switch name {
      case "id": id = try scanner.integer()
      case "name": own = try scanner.escapedBytes()
      case "format": format = try scanner.string()
      default: try scanner.skip()
      }
    }
    self.init(id: id, name: own, format: format)
  }
}

extension RecordedValue {
  fileprivate init(_ scanner: inout JSONScanner, id take: (Int) -> Void) throws {
    var size = 0, bytes: [UInt8] = []
    try scanner.object { scanner, name in
      switch name {
      case "id": take(try scanner.id())
      case "size": size = Int(try scanner.integer() as UInt16)
      case "bytes":
        let digits = try scanner.string().utf8.compactMap(hexValue)
        guard digits.count % 2 == 0 else { throw scanner.fault("bytes are not hexadecimal") }
        bytes = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
      default: try scanner.skip()
      }
    }
    guard size > 0, bytes.count == min(size, Self.mostBytes) else { throw scanner.fault("a value has not its size") }
    self.init(size: size, bytes: bytes)
  }
}

extension Lost {
  fileprivate init(_ scanner: inout JSONScanner) throws {
    var cpu = 0, stretches: UInt64 = 0, ran: UInt64 = 0, wakeups: UInt64 = 0
    try scanner.object { scanner, name in
      switch name {
      case "cpu": cpu = try scanner.processor()
      case "stretches": stretches = try scanner.integer()
      case "ran_ns": ran = try scanner.integer()
      case "wakeups": wakeups = try scanner.integer()
      default: try scanner.skip()
      }
    }
    self.init(cpu: cpu, stretches: stretches, ran: ran, wakeups: wakeups)
  }
}
