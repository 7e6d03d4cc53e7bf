#!/usr/bin/env bash
# Prints a fixed route table: routes.sh <number of routes> <upstream address>.
# The host wf1.bench.test is among them.
set -euo pipefail
awk -v count="$1" -v upstream="$2" 'BEGIN {
    printf "{\"version\":1,\"domain\":\"bench.test\",\"dashboard\":null,\"routes\":["
    for (i = 1; i <= count; i++)
        printf "%s{\"hosts\":[\"wf%d.bench.test\"],\"instanceId\":\"0198f0a0-0000-7000-8000-%012d\",\"engine\":\"node-red\"," \
            "\"upstream\":\"%s\",\"state\":\"running\",\"webhookAccess\":\"open\"}", (i > 1 ? "," : ""), i, i, upstream
    print "]}"
}'
