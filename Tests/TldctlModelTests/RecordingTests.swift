// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Foundation
import Testing

@testable import TldctlModel

/// A recording of so many values, in stretches of 1 ms one after the other on each processor.
private func sample(values: Int, cpus: Int = 2, stretches: Int = 1000, size: Int = 4) -> Recording {
  var recording = Recording()
  recording.header.name = Array("kind".utf8)
  recording.header.cpus = Array(0..<cpus)
  recording.header.began = 1_795_300_236_648_297_154
  recording.tasks = [
    RecordedTask(tid: 11, pid: 10, started: 1 << 60, comm: Array("one".utf8), process: Array("first".utf8)),
    RecordedTask(tid: 21, pid: 20, started: 2, comm: Array("<&\u{1b}".utf8), process: Array("second".utf8)),
  ]
  recording.values = (0..<values).map { value in
    RecordedValue(size: size, bytes: (0..<min(size, 32)).map { UInt8(truncatingIfNeeded: value >> (8 * min($0, 7))) })
  }
  for number in 0..<stretches {
    let begin = UInt64(number / cpus) * 1_000_000
    let value = number % values
    recording.stretches.append(
      Stretch(
        begin: begin, end: begin + 1_000_000, cpu: number % cpus, task: number % 2, before: value, after: value,
        ran: 900_000, wakeup: number % 3 == 0 ? UInt64(number) * 1000 : nil))
  }
  recording.end.duration = UInt64(stretches / cpus + 1) * 1_000_000
  return recording
}

private func written(_ recording: Recording, mostValues: Int = 1000, mostTasks: Int = 1000) -> [UInt8] {
  var writer = RecordingWriter(recording.header, origin: 1000, mostValues: mostValues, mostTasks: mostTasks)
  for stretch in recording.stretches {
    writer.add(
      ReportedStretch(
        begin: stretch.begin + 1000, end: stretch.end + 1000, cpu: stretch.cpu, task: recording.tasks[stretch.task],
        before: stretch.before.map { recording.values[$0] }, after: stretch.after.map { recording.values[$0] },
        ran: stretch.ran, wakeup: stretch.wakeup, isSample: stretch.isSample))
  }
  writer.finish(recording.end)
  return writer.bytes
}

private func traced(_ recording: Recording, _ naming: ValueNames) -> [UInt8] {
  var bytes: [UInt8] = []
  RecordingTrace.write(recording, naming) { bytes += $0 }
  return bytes
}

@Suite struct RecordingTests {
  @Test("A recording that is written and read is the same")
  func roundTrip() throws {
    var recording = sample(values: 5)
    recording.stretches[3].before = nil
    recording.stretches[4].after = nil
    recording.stretches[5].isSample = true
    recording.end.lost = [Lost(cpu: 1, stretches: .max, ran: 7, wakeups: 5)]
    #expect(try Recording(file: written(recording), title: "x") == recording)
  }

  @Test("A file of version 1, whose indices are places, is read")
  func firstVersion() throws {
    let recording = sample(values: 3, stretches: 12)
    let text = String(decoding: written(recording), as: UTF8.self)
    let old = text.replacing("\"version\": 2", with: "\"version\": 1").replacing(/"id": \d+, (?="tid|"size)/, with: "")
    #expect(try Recording(file: Array(old.utf8), title: "x") == recording)
    let short = old.replacing(/\{"size": 4, "bytes": "02000000", "value": 2\}/, with: "").replacing(/,\s*\],\s*"lost"/, with: "],\"lost\"")
    #expect(short.utf8.count < old.utf8.count)
    #expect(throws: Failure.self) { try Recording(file: Array(short.utf8), title: "x") }
  }

  @Test("Ids may be any, but each is there once")
  func ids() throws {
    let recording = sample(values: 3, stretches: 12), text = String(decoding: written(recording), as: UTF8.self)
    func read(_ text: String) throws -> Recording { try Recording(file: Array(text.utf8), title: "x") }
    #expect(throws: Failure.self) { try read(text.replacing("\"id\": 1, \"size\"", with: "\"id\": 0, \"size\"")) }
    #expect(throws: Failure.self) { try read(text.replacing("\"id\": 1, \"tid\"", with: "\"id\": 0, \"tid\"")) }
    #expect(throws: Failure.self) { try read(text.replacing("\"id\": 1, \"size\"", with: "\"size\"")) }
    #expect(throws: Failure.self) { try read(text.replacing("\"id\": 1, \"size\"", with: "\"id\": 1, \"id\": 7, \"size\"")) }
    let others = try read(text.replacing("\"id\": 1, \"size\"", with: "\"id\": 9007199254740992, \"size\""))
    #expect(others.values == recording.values)
    #expect(others.stretches.map { $0.value! < 3 } == recording.stretches.map { $0.value != 1 })
  }

  @Test("Values and threads beyond those that are kept are read as others, and mixed time stays mixed")
  func others() throws {
    var recording = sample(values: 5, stretches: 0)
    func add(_ task: Int, _ before: Int, _ after: Int, _ ran: UInt64) {
      recording.stretches.append(Stretch(begin: 0, end: ran, cpu: 0, task: task, before: before, after: after, ran: ran, wakeup: ran))
    }
    add(0, 0, 0, 100)
    add(1, 2, 3, 10)
    add(0, 1, 1, 90)
    add(1, 4, 4, 5)
    recording.end.duration = 1000
    let read = try Recording(file: written(recording, mostValues: 2, mostTasks: 1), title: "x")
    #expect(read.values == [recording.values[0], recording.values[1]] && read.tasks == [recording.tasks[0]])
    let summary = OnCPU(read)
    #expect(summary.values.map(\.use.ran) == [100, 90])
    let others = try #require(summary.others)
    #expect(others.ran == 15 && others.mixed == 10 && others.switches == 2 && others.latencies == Latencies([10, 5]))
    #expect(summary.processes.map(\.pid) == [10, 0] && summary.processes.map(\.use.ran) == [190, 15])
    #expect(summary.processes.map { $0.others?.ran } == [nil, 15] && summary.processes[1].threads == 1)
  }

  @Test("What more than are kept are is said by the writer")
  func words() {
    func writer(of values: Int) -> RecordingWriter {
      var writer = RecordingWriter(RecordingHeader(), origin: 0, mostValues: 3, mostTasks: 1)
      let recording = sample(values: values)
      for stretch in recording.stretches {
        writer.add(
          ReportedStretch(
            begin: 0, end: 1, cpu: 0, task: recording.tasks[0], before: nil, after: recording.values[stretch.value!],
            ran: 1, wakeup: nil, isSample: false))
      }
      return writer
    }
    #expect(writer(of: 3).valuesInWords == "3 values" && !writer(of: 3).hasOtherValues)
    #expect(writer(of: 4).valuesInWords == "more than 3 values" && !writer(of: 4).hasOtherTasks)
    #expect(writer(of: 400).valuesInWords == "more than 3 values" && writer(of: 400).hasOtherValues)
  }

  @Test("Wake-ups that were lost are said; a recording without their number has none")
  func lostWakeups() throws {
    var recording = sample(values: 1)
    recording.end.lost = [Lost(cpu: 0, stretches: 0, ran: 0, wakeups: 67_890)]
    let warnings = RecordingText.head(recording, OnCPU(recording)).filter(\.1).map(\.0)
    #expect(warnings.count == 1 && warnings[0].contains("67,890 wake-ups"))
    let old = String(decoding: written(recording), as: UTF8.self).replacing(/,\s*"wakeups": 67890/, with: "")
    #expect(!old.contains("wakeups"))
    recording.end.lost = [Lost(cpu: 0, stretches: 0, ran: 0, wakeups: 0)]
    #expect(try Recording(file: Array(old.utf8), title: "x") == recording)
  }

  @Test("A file that is cut anywhere is refused")
  func cutFiles() {
    let whole = written(sample(values: 2, stretches: 4)).dropLast()
    for length in 0..<whole.count {
      #expect(throws: Failure.self) { try Recording(file: Array(whole.prefix(length)), title: "x") }
    }
  }

  @Test("A file with any byte changed is refused or read, and reported without a trap")
  func changedFiles() {
    let whole = written(sample(values: 3, stretches: 6), mostValues: 2, mostTasks: 1)
    for at in whole.indices {
      for byte in Array("0]\"".utf8) {
        var changed = whole
        changed[at] = byte
        guard let recording = try? Recording(file: changed, title: "x") else { continue }
        let summary = OnCPU(recording), naming = ValueNames(recording, ValueTypes())
        _ = RecordingPicture.draw(recording, summary, naming).svg
        _ = traced(recording, naming)
        _ = RecordingJSON.report(recording, summary, ValueTypes()).serialized
        _ = RecordingText.lines(recording, summary, naming, most: 3, limit: 40)
      }
    }
  }
}

@Suite struct OnCPUTests {
  @Test("Percentiles are by nearest rank")
  func percentiles() {
    #expect(Latencies([]).percentile(50) == nil)
    #expect(Latencies([7]).percentile(50) == 7)
    #expect(Latencies([7]).percentile(99) == 7)
    #expect(Latencies([4, 1, 3, 2]).percentile(50) == 2)
    #expect(Latencies(1...100).percentile(50) == 50)
    #expect(Latencies(1...100).percentile(99) == 99)
    #expect(Latencies(1...101).percentile(99) == 100)
    #expect(Latencies(1...100).percentile(100) == 100)
  }

  @Test("Time counts for the value at the end, waiting for that at the beginning")
  func charging() {
    var recording = sample(values: 2, stretches: 0)
    recording.stretches = [
      Stretch(begin: 0, end: 10, cpu: 0, task: 0, before: 0, after: 1, ran: 9, wakeup: 5),
      Stretch(begin: 10, end: 30, cpu: 0, task: 1, before: 1, after: nil, ran: 20, isSample: true),
    ]
    let summary = OnCPU(recording)
    #expect(summary.all.ran == 29)
    #expect(summary.all.mixed == 29)
    #expect(summary.all.switches == 1)
    #expect(summary.values.map(\.value) == [1, 0])
    #expect(summary.values.map(\.use.ran) == [29, 0])
    #expect(summary.values.map(\.use.latencies.count) == [0, 1])
    #expect(summary.processes.map(\.pid) == [20, 10])
  }

  @Test("Sums of what a file claims do not trap")
  func saturation() {
    var recording = sample(values: 1, stretches: 0)
    recording.stretches = (0..<3).map { _ in Stretch(begin: 0, end: 1, cpu: 0, task: 0, before: 0, after: 0, ran: .max) }
    #expect(OnCPU(recording).all.ran == .max)
  }
}

/// Two values, of which 0 has 900 ns; four others, and a thread that is one of others.
private var withOthers: Recording {
  var recording = sample(values: 2, stretches: 0)
  recording.stretches = [
    Stretch(begin: 0, end: 900, cpu: 0, task: 0, before: 0, after: 0, ran: 900, wakeup: 7),
    Stretch(begin: 900, end: 950, cpu: 0, task: 0, before: 1, after: 1, ran: 50),
    Stretch(begin: 0, end: 400, cpu: 1, task: 0, before: 100, after: 101, ran: 400, wakeup: 8),
    Stretch(begin: 400, end: 500, cpu: 1, task: 77, before: 102, after: 103, ran: 100, wakeup: 0),
  ]
  recording.end.duration = 1000
  return recording
}

@Suite struct OthersTests {
  private let summary = OnCPU(withOthers), naming = ValueNames(withOthers, ValueTypes())

  @Test("The table has one row of others, in which values beyond --top are, too")
  func table() {
    func rows(most: Int) -> [String] {
      RecordingText.lines(withOthers, summary, naming, most: most, limit: nil).map { $0.split(separator: " ").joined(separator: " ") }
    }
    let all = rows(most: 20)
    #expect(all.contains("others 500 ns 34.5 % 2 2 0 ns 8 ns 100.0 %"))
    #expect(all.contains("others 400 ns 27.6 % 1 1 8 ns 8 ns 100.0 %"))
    #expect(all.contains("0 others all 100 ns 6.9 % 1 1 0 ns 0 ns 100.0 %"))
    #expect(all[1].hasSuffix("4 switches, 1 process and others"))
    #expect(all.contains("Only the 2 values with the most time are told apart: the others are together."))
    #expect(all.contains("Only the 2 threads with the most time are told apart: the others are process 0."))
    #expect(rows(most: 1).contains("others 550 ns 37.9 % 3 2 0 ns 8 ns 90.9 %"))
    #expect(!all.contains { $0.hasPrefix("and ") })
  }

  @Test("JSON has them beside the values")
  func json() throws {
    let report = RecordingJSON.report(withOthers, summary, ValueTypes()).serialized
    let json = try #require(try JSONSerialization.jsonObject(with: Data(report)) as? [String: Any])
    #expect((json["values"] as? [Any])?.count == 2)
    #expect((json["others"] as? [String: Any])?["ran_ns"] as? Int == 500)
    let processes = try #require(json["processes"] as? [[String: Any]])
    #expect(processes.map { $0["pid"] as? Int } == [10, 0])
    #expect(processes.map { ($0["others"] as? [String: Any])?["ran_ns"] as? Int } == [400, 100])
    let without = RecordingJSON.report(sample(values: 2), OnCPU(sample(values: 2)), ValueTypes()).serialized
    let all = try #require(try JSONSerialization.jsonObject(with: Data(without)) as? [String: Any])
    #expect(all["others"] is NSNull)
  }

  @Test("In the picture they have the last fill and the last row")
  func picture() {
    let drawing = RecordingPicture.draw(withOthers, summary, naming), svg = String(decoding: drawing.svg, as: UTF8.self)
    #expect(drawing.texts.filter { $0.text == "others" }.count == 1)
    // Half of 886 columns are those of the others, on the second processor.
    #expect(svg.contains(/fill="url\(#value7\)" d="M90 \d+h443v30h-443z"/))
    #expect(svg.contains(/fill="url\(#value7\)" stroke="#111111"/) && !svg.contains("fill=\"url(#value2)\""))
    #expect(drawing.texts.contains { $0.text.hasPrefix("Only the 2 values") })
  }

  @Test("In the trace their slices are on the processor's track, and on those of threads that are told apart")
  func trace() {
    let trace = String(decoding: traced(withOthers, naming), as: UTF8.self)
    let cpu = 1 << 22
    #expect(trace.matches(of: /"name":"others","cat":"on-cpu","pid":(\d+),"tid":(\d+)/).map { "\($0.1) \($0.2)" } == [
      "\(cpu) \(cpu + 1)", "10 11", "\(cpu) \(cpu + 1)",
    ])
    #expect(trace.contains("\"pid\":0,\"tid\":0,\"comm\":\"others\""))
  }
}

@Suite struct QuantityTests {
  @Test("Times have three digits")
  func durations() {
    #expect(duration(0) == "0 ns")
    #expect(duration(999) == "999 ns")
    #expect(duration(1000) == "1.00 us")
    #expect(duration(999_499) == "999 us")
    #expect(duration(999_500) == "1.00 ms")
    #expect(duration(12_345_678) == "12.3 ms")
    #expect(duration(1_234_567_890_123) == "1235 s")
  }

  @Test("Numbers, shares and dates")
  func others() {
    #expect(fixed(2.345, 1) == "2.3" && fixed(-0.01, 1) == "0.0" && fixed(9.99, 1) == "10.0")
    #expect(share(1, of: 3) == "33.3 %" && share(0, of: 0) == "-")
    #expect(grouped(0) == "0" && grouped(999) == "999" && grouped(1_234_567) == "1,234,567")
    #expect(utc(seconds: 0) == "1970-01-01 00:00:00")
    #expect(utc(seconds: 951_782_400) == "2000-02-29 00:00:00")
    #expect(utc(seconds: 1_795_300_236) == "2026-11-21 22:30:36")
  }

  @Test("An axis has few ticks at round times")
  func steps() {
    #expect(niceStep(0, most: 8) == 1)
    #expect(niceStep(5_000_000_000, most: 8) == 1_000_000_000)
    #expect(niceStep(.max, most: 8) > 0)
  }
}

@Suite struct PictureTests {
  private func draw(_ recording: Recording) -> Drawing {
    RecordingPicture.draw(recording, OnCPU(recording), ValueNames(recording, ValueTypes()))
  }

  @Test("No text overlaps another or leaves the picture", arguments: [0, 1, 8, 300], [1, 16, 70])
  func texts(values: Int, cpus: Int) {
    for size in [4, 40] {
      for length in [0, 500] where values > 0 || length == 0 {
        var recording = sample(values: max(values, 1), cpus: cpus, stretches: length, size: size)
        recording.end.lost = [Lost(cpu: 0, stretches: 12345, ran: 99, wakeups: 67_890)]
        recording.header.name = Array(String(repeating: "long \\ name ", count: 5).utf8)
        let drawing = draw(recording), whole = Box(left: 0, top: 0, right: drawing.width, bottom: drawing.height)
        let boxes = drawing.texts.map(\.box)
        for (index, box) in boxes.enumerated() {
          #expect(whole.contains(box), "\(drawing.texts[index])")
          for other in boxes[..<index] { #expect(!box.overlaps(other), "\(drawing.texts[index])") }
        }
      }
    }
  }

  @Test("Every value that is drawn has a fill of its own colour and pattern")
  func fills() {
    #expect(Set(Palette.fills.map(\.color)).count == Palette.fills.count)
    #expect(Set(Palette.fills.map(\.pattern)).count == Palette.fills.count)
  }

  /// Two values on one processor: 2 ns for each of the 886 columns, of which one is shared.
  private var halves: Recording {
    var recording = sample(values: 9, cpus: 1, stretches: 0)
    recording.stretches = [
      Stretch(begin: 0, end: 400, cpu: 0, task: 0, before: 0, after: 0, ran: 300, wakeup: 100),
      Stretch(begin: 400, end: 887, cpu: 0, task: 0, before: 0, after: 0, ran: 500, wakeup: 400),
      Stretch(begin: 887, end: 1330, cpu: 0, task: 1, before: 5, after: 5, ran: 400),
    ]
    recording.end.duration = 1772
    return recording
  }

  @Test("Time is drawn where it was, one value above the other in a column that they share")
  func timeline() throws {
    let svg = String(decoding: draw(halves).svg, as: UTF8.self)
    let top = try #require(svg.firstMatch(of: /fill="url\(#value0\)" d="M90 (\d+)h/)?.1).description
    let half = String(try #require(Int(top)) + 15)
    #expect(svg.contains("<path fill=\"url(#value0)\" d=\"M90 \(top)h443v30h-443zM533 \(half)h1v15h-1z\"/>"))
    #expect(svg.contains("<path fill=\"url(#value1)\" d=\"M533 \(top)h1v15h-1zM534 \(top)h221v30h-221z\"/>"))
  }

  @Test("Values stand in their columns where there is room for them")
  func labels() {
    // Time 0 is on the axis as well.
    let labels = draw(halves).texts.filter { $0.anchor == .middle && ($0.text == "0" || $0.text == "5") && $0.x != 90 }
    let middles: [Double] = [311.5, 644.5]
    #expect(labels.map(\.x) == middles)
    var short = halves
    short.stretches[2].end = 887 + 30  // 15 columns
    #expect(draw(short).texts.filter { $0.anchor == .middle && $0.text == "5" }.isEmpty)
  }

  @Test("Bars are as long as what they mean, the longest as long as there is room")
  func bars() {
    let svg = String(decoding: draw(halves).svg, as: UTF8.self)
    func widths(_ x: Int, _ fill: String) -> [String] {
      svg.matches(of: /<rect x="(\d+)" y="[\d.]+" width="([\d.]+)" height="\d+" fill="([^"]+)" stroke/)
        .filter { $0.1 == "\(x)" && $0.3 == fill }.map { String($0.2) }
    }
    #expect(widths(190, "url(#value0)") == ["170"] && widths(190, "url(#value1)") == ["85"])
    #expect(widths(540, "#111111") == ["65"] && widths(540, "url(#value0)") == ["260"])
    let texts = draw(halves).texts.map(\.text)
    #expect(texts.contains("800 ns  66.7 %") && texts.contains("p50 100 ns") && texts.contains("p99 400 ns") && texts.contains("never woken"))
  }

  @Test("Values beyond the fills share the last one, and a row")
  func others() {
    let drawing = draw(sample(values: 9)), svg = String(decoding: drawing.svg, as: UTF8.self)
    #expect(drawing.texts.contains { $0.text == "2 others" })
    #expect(svg.contains("fill=\"url(#value7)\" d=") && !svg.contains("url(#value8)"))
  }

  @Test("What XML cannot hold is not in it")
  func xmlText() {
    #expect(xml("<a & \"b\">\u{1b}\u{fffe}") == "&lt;a &amp; &quot;b&quot;&gt;\u{fffd}\u{fffd}")
  }

  @Test("A column of the timeline has no more than all of itself")
  func columns() {
    var timeline = Timeline(duration: 100, columns: 10, slots: 3)
    timeline.add(from: 0, to: 25, slot: 0)
    timeline.add(from: 25, to: 30, slot: 1)
    timeline.add(from: 0, to: 10, slot: 2)
    timeline.add(from: 95, to: 1000, slot: 2)
    let runs = timeline.runs
    #expect(runs.map(\.count).reduce(0, +) == 10)
    #expect(runs.allSatisfy { $0.column.parts.reduce(0) { $0 + Int($1) } <= 100 })
    #expect(runs[0].column.parts == [100, 0, 0])
    #expect(runs[1].column.parts == [50, 50, 0])
    #expect(runs.last?.column.parts == [0, 0, 50])
  }
}

@Suite struct TraceTests {
  @Test("A trace is JSON, with microseconds, and a slice for each stretch on both tracks")
  func trace() throws {
    let recording = sample(values: 2, stretches: 6)
    var scanner = JSONScanner(traced(recording, ValueNames(recording, ValueTypes())))
    var slices = 0, names = 0, times: [String] = []
    try scanner.object { scanner, name in
      guard name == "traceEvents" else { return try scanner.skip() }
      try scanner.array { scanner in
        try scanner.object { scanner, name in
          guard name == "ph" else { return try scanner.skip() }
          let kind = try scanner.string()
          times.append(kind)
          if kind == "X" { slices += 1 } else { names += 1 }
        }
      }
    }
    try scanner.end()
    // Of six stretches two were woken, the first at once.
    #expect(slices == 6 * 2 + 2)
    #expect(names == 1 + 2 + 2 * 2)
  }

  @Test("Slices are in the order of time, where they were, on the tracks of processor and thread")
  func slices() throws {
    var recording = sample(values: 2, stretches: 0)
    recording.stretches = [
      Stretch(begin: 9_001, end: 12_345, cpu: 1, task: 1, before: 0, after: 1, ran: 3_000, wakeup: 2_000),
      Stretch(begin: 1_000, end: 2_500, cpu: 0, task: 0, before: 0, after: 0, ran: 1_400, wakeup: 5_000),
    ]
    let json = try JSONSerialization.jsonObject(with: Data(traced(recording, ValueNames(recording, ValueTypes()))))
    let events = try #require((json as? [String: Any])?["traceEvents"] as? [[String: Any]])
    let found = events.map { event in
      let args = (event["args"] as? [String: Any] ?? [:]).map { "\($0)=\($1)" }.sorted().joined(separator: " ")
      return ["ph", "name", "pid", "tid", "ts", "dur"].compactMap { event[$0].map { "\($0)" } }.joined(separator: " ") + " " + args
    }
    let cpus = 1 << 22
    #expect(found == [
      "M process_name \(cpus) \(cpus) name=Processors by kind", "M thread_name \(cpus) \(cpus) name=CPU 0",
      "M thread_name \(cpus) \(cpus + 1) name=CPU 1", "M process_name 10 10 name=first", "M thread_name 10 11 name=one",
      "M process_name 20 20 name=second", "M thread_name 20 21 name=<&\\x1b",
      // It was woken before the recording began: when is not known.
      "X 0 \(cpus) \(cpus) 1.0 1.5 comm=one mixed=0 pid=10 tid=11", "X 0 10 11 1.0 1.5 cpu=0 mixed=0 ran_ns=1400",
      "X 1 \(cpus) \(cpus + 1) 9.001 3.344 comm=<&\\x1b mixed=1 pid=20 tid=21",
      "X woken, waits 20 21 7.001 2.0 latency_ns=2000", "X 1 20 21 9.001 3.344 cpu=1 mixed=1 ran_ns=3000",
    ])
  }
}

@Suite struct JSONScannerTests {
  private func string(_ text: String) throws -> String {
    var scanner = JSONScanner(Array(text.utf8))
    let found = try scanner.string()
    try scanner.end()
    return found
  }

  @Test("Strings with escapes, and those that are none")
  func strings() throws {
    #expect(try string(#" "a\"\\\/\n\u00e4\ud83d\ude00" "#) == "a\"\\/\nä😀")
    for bad in [#""\ud83d""#, #""\x""#, "\"", "\"\n\"", #""\u12""#, "a", "\"a\" b"] {
      #expect(throws: JSONFault.self) { try string(bad) }
    }
  }

  @Test("Integers to their limits, also as strings")
  func integers() throws {
    func number<Number: FixedWidthInteger>(_ text: String) throws -> Number {
      var scanner = JSONScanner(Array(text.utf8))
      return try scanner.integer()
    }
    #expect(try number("18446744073709551615") == UInt64.max)
    #expect(try number("\"18446744073709551615\"") == UInt64.max)
    #expect(try number("-128") == Int8.min)
    for bad in ["18446744073709551616", "-1", "1.5", "1e3", "", "\"1", "x"] {
      #expect(throws: JSONFault.self) { try number(bad) as UInt64 }
    }
    #expect(throws: JSONFault.self) { try number("300") as UInt8 }
  }
}
