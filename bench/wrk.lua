-- A chat completion of so many bytes: `wrk -s bench/wrk.lua URL -- BYTES [NAME VALUE]...`, the rest being headers.
-- Ends with one line of JSON on stdout.

function init(args)
  local head = '{"model":"asked-for","messages":[{"role":"user","content":"'
  local tail = '"}]}'
  wrk.method = "POST"
  wrk.path = "/v1/chat/completions"
  wrk.headers["content-type"] = "application/json"
  for at = 2, #args - 1, 2 do wrk.headers[args[at]] = args[at + 1] end
  wrk.body = head .. string.rep("a", tonumber(args[1]) - #head - #tail) .. tail
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
