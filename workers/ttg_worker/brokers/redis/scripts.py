"""What must happen on the server in one step, as Lua; nothing here is newer than Redis 6.2.

A script's effects reach the append-only file as one transaction, so a crash keeps all or none
of them. Keys and arguments are named at the head of each.
"""

from __future__ import annotations

from typing import Final

PUBLISH: Final = """
local tasks = KEYS[1]
for i = 1, #ARGV do redis.call('XADD', tasks, '*', 'body', ARGV[i]) end
"""

# A result is recorded whoever holds the chunk by now: a duplicate can be seen, a loss can't. A retry
# or dead letter, which ends the chunk, counts only from the holder (owner '' asks for no holder), for
# whoever else has the chunk by now will decide on it; so sending one again after a broken connection does
# nothing.
SETTLE: Final = """
local tasks, results, retry, dlq = unpack(KEYS)
local group, owner, delay_ms = ARGV[1], ARGV[2], ARGV[3]
local settled = {}
local function holds(id)
  if owner == '' then return true end
  local pending = redis.call('XPENDING', tasks, group, id, id, 1)[1]
  return pending ~= nil and pending[2] == owner
end
-- A part is followed by what ends the chunk.
for i = 4, #ARGV, 3 do
  local verb, id, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if verb == 'result' or verb == 'part' then
    redis.call('XADD', results, '*', 'body', body)
    if verb == 'result' then settled[#settled + 1] = id end
  elseif holds(id) then
    if verb == 'retry' then
      local now = redis.call('TIME')
      local due = now[1] * 1000 + math.floor(now[2] / 1000) + delay_ms
      redis.call('ZADD', retry, string.format('%.0f', due), id .. ' ' .. body)
    elseif verb == 'dead' then
      redis.call('XADD', dlq, '*', 'body', body)
    end
    settled[#settled + 1] = id
  end
end
if #settled > 0 then
  redis.call('XACK', tasks, group, unpack(settled))
  redis.call('XDEL', tasks, unpack(settled))
end
"""

# New chunks, packed: a client reads two texts in a fraction of the time that a thousand take it. The sizes
# of ids and bodies, all of these in one, and entries that are not as a publisher makes them, as they are.
TAKE: Final = """
local group, me, count = unpack(ARGV)
local reply = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', count, 'STREAMS', KEYS[1], '>')
if not reply then return nil end
local sizes, texts, others = {}, {}, {}
for _, entry in ipairs(reply[1][2]) do
  local id, fields = entry[1], entry[2]
  if fields and #fields == 2 and fields[1] == 'body' then
    sizes[#sizes + 1], texts[#texts + 1] = #id, id
    sizes[#sizes + 1], texts[#texts + 1] = #fields[2], fields[2]
  else
    others[#others + 1] = entry
  end
end
return {table.concat(sizes, ' '), table.concat(texts), others}
"""

# Takes over what has been idle for the lease. XCLAIM, and not XAUTOCLAIM itself, counts the delivery,
# for Redis 6.2 gives a message that is no longer there as nil, without the id to forget it by. One look
# is at ten times as many chunks as are wanted, one call at 50 looks; the cursor says where to go on.
CLAIM: Final = """
local tasks = KEYS[1]
local group, me, lease_ms, cursor, count = unpack(ARGV)
local claimed, looks = {}, 0
repeat
  local page = redis.call(
    'XAUTOCLAIM', tasks, group, me, lease_ms, cursor, 'COUNT', count - #claimed, 'JUSTID')
  cursor, looks = page[1], looks + 1
  for _, id in ipairs(page[2]) do
    local entry = redis.call('XCLAIM', tasks, group, me, 0, id)[1]
    if entry then
      local pending = redis.call('XPENDING', tasks, group, id, id, 1)[1]
      claimed[#claimed + 1] = {entry[1], entry[2], pending[4]}
    else
      redis.call('XACK', tasks, group, id)
    end
  end
until cursor == '0-0' or #claimed >= tonumber(count) or looks >= 50
return {cursor, claimed}
"""

# Only for what is still this worker's: one that was stopped for longer than the lease must not steal
# its chunks back. Returns the ids of those that it lost.
RENEW: Final = """
local tasks = KEYS[1]
local group, me = ARGV[1], ARGV[2]
local mine, lost = {}, {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', tasks, group, ARGV[i], ARGV[i], 1)[1]
  if pending and pending[2] == me then mine[#mine + 1] = ARGV[i] else lost[#lost + 1] = ARGV[i] end
end
for i = 1, #mine do redis.call('XCLAIM', tasks, group, me, 0, mine[i], 'JUSTID') end
return lost
"""

PROMOTE: Final = """
local tasks, retry = unpack(KEYS)
local now = redis.call('TIME')
local due = redis.call('ZRANGEBYSCORE', retry, '-inf',
  string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)), 'LIMIT', 0, 500)
for _, member in ipairs(due) do
  redis.call('XADD', tasks, '*', 'body', string.sub(member, string.find(member, ' ', 1, true) + 1))
  redis.call('ZREM', retry, member)
end
return #due
"""

# Puts chunks of this worker back as new messages, which wakes a waiting worker at once; that a worker
# gave them back is no crash, so the crashes so far go with them and no more.
_PUT_BACK: Final = """
local tasks = KEYS[1]
local group, me = ARGV[1], ARGV[2]
local function put_back(id, crashes)
  local entry = redis.call('XRANGE', tasks, id, id)[1]
  if entry then
    local fields = {}
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'crashes' then
        crashes = crashes + (tonumber(entry[2][i + 1]) or 0)
      else
        fields[#fields + 1] = entry[2][i]
        fields[#fields + 1] = entry[2][i + 1]
      end
    end
    if crashes > 0 then
      fields[#fields + 1] = 'crashes'
      fields[#fields + 1] = string.format('%d', crashes)
    end
    redis.call('XADD', tasks, '*', unpack(fields))
  end
  redis.call('XACK', tasks, group, id)
  redis.call('XDEL', tasks, id)
end
"""

HAND_BACK: Final = (
    _PUT_BACK
    + """
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', tasks, group, ARGV[i], ARGV[i], 1)[1]
  if pending and pending[2] == me then put_back(ARGV[i], pending[4] - 1) end
end
"""
)

# All that it has. A consumer that still had some would take them along when it is deleted.
RELEASE: Final = (
    _PUT_BACK
    + """
while true do
  local page = redis.call('XPENDING', tasks, group, '-', '+', 100, me)
  if #page == 0 then break end
  for _, pending in ipairs(page) do put_back(pending[1], pending[4] - 1) end
end
redis.call('XGROUP', 'DELCONSUMER', tasks, group, me)
"""
)

REPLAY: Final = """
local tasks, dlq = unpack(KEYS)
if redis.call('XDEL', dlq, ARGV[1]) == 1 then redis.call('XADD', tasks, '*', 'body', ARGV[2]) end
"""
