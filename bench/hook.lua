-- wrk: the hook's request, as EMQX sends it.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Openflow-Hook-Secret"] = os.getenv("HOOK_SECRET")
wrk.body = os.getenv("HOOK_BODY")
