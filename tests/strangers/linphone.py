"""A user agent made of liblinphone, as applications make one: it says that it takes SIRs, and calls what
it is told to. `linphone.rs` runs it; it is no part of the product.

linphone.py PORT PROXY AOR UUID DIRECTORY. URIs to call come by lines on stdin; lines on stdout say what
happened. The library gives bodies on as C strings, so what stands behind a zero octet is lost.
"""

import ctypes
import os
import select
import sys

SIR = b"application/vnd.wap.sia"

port, proxy, aor, uuid, directory = sys.argv[1:6]
# The library keeps its database there, and does not start without it.
os.environ["HOME"] = directory
os.makedirs(os.path.join(directory, ".local/share/linphone"), exist_ok=True)
library = ctypes.CDLL("liblinphone.so.10")


def call(name, *arguments, result=ctypes.c_void_p):
    function = getattr(library, name)
    function.restype = result
    wrapped = [ctypes.c_void_p(a) if isinstance(a, int) and a > 0xFFFF else a for a in arguments]
    return function(*wrapped)


def tell(text):
    print(text, flush=True)


factory = call("linphone_factory_get")
settings = (
    f"[sip]\nsip_port={port}\nsip_tcp_port=-1\nsip_tls_port=-1\nuse_ipv6=0\nguess_hostname=1\n"
    f"[misc]\nuuid={uuid}\n[sound]\n[net]\nmtu=0\n"
)
config = call("linphone_factory_create_config_from_string", factory, settings.encode())
core = call("linphone_factory_create_core_with_config_3", factory, config, None)
call("linphone_core_set_use_files", core, 1)
call("linphone_core_add_content_type_support", core, SIR)

RECEIVED = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
STATE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)


def received(_core, _room, message):
    kind = call("linphone_chat_message_get_content_type", message, result=ctypes.c_char_p)
    contents = call("linphone_chat_message_get_contents", message)
    # bctbx_list_t: next, prev, data.
    content = ctypes.cast(contents, ctypes.POINTER(ctypes.c_void_p))[2] if contents else None
    size = call("linphone_content_get_size", content, result=ctypes.c_size_t) if content else 0
    buffer = call("linphone_content_get_buffer", content) if content else None
    body = ctypes.string_at(buffer, size) if buffer else b""
    tell(f"message {kind} {body!r}")


def state(_core, _call, number, text):
    tell(f"call {number} {text}")


keep = (RECEIVED(received), STATE(state))
callbacks = call("linphone_factory_create_core_cbs", factory)
call("linphone_core_cbs_set_message_received", callbacks, keep[0])
call("linphone_core_cbs_set_call_state_changed", callbacks, keep[1])
call("linphone_core_add_callbacks", core, callbacks)
if call("linphone_core_start", core, result=ctypes.c_int) != 0:
    sys.exit("the core does not start")

parameters = call("linphone_core_create_account_params", core)
call("linphone_account_params_set_identity_address", parameters,
     call("linphone_factory_create_address", factory, aor.encode()))
call("linphone_account_params_set_server_addr", parameters, f"<sip:{proxy};transport=udp>".encode())
call("linphone_account_params_set_outbound_proxy_enabled", parameters, 1)
call("linphone_account_params_set_register_enabled", parameters, 1)
account = call("linphone_core_create_account", core, parameters)
call("linphone_core_add_account", core, account)
call("linphone_core_set_default_account", core, account)
tell("started")
while True:
    call("linphone_core_iterate", core)
    readable, _, _ = select.select([sys.stdin], [], [], 0.01)
    line = sys.stdin.readline() if readable else None
    if line == "":
        break
    if line:
        call("linphone_core_invite", core, line.strip().encode())
