/*
 * json.c - the JSON of the program: one envelope {"schema_version":1,"data":...} for every
 * answer. What is in it is built in edge/json.c and by the commands.
 */
#include "cli/cli.h"

static int dump(struct cli *c, json_t *value)
{
    if (value == NULL)
        return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
    int result = json_dumpf(value, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(value);
    /* A failed write leaves its error on stdout, where main() finds it. */
    if (result == 0)
        (void)fputc('\n', stdout);
    return 0;
}

int cli_json(struct cli *c, json_t *data)
{
    if (data == NULL)
        return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
    return dump(c, json_pack("{s:i,s:o}", "schema_version", 1, "data", data));
}

int cli_listed(struct cli *c, int code, json_t *list, size_t count, const char *none)
{
    if (code == STRATA_OK && c->json)
        return cli_json(c, list);
    json_decref(list);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (count == 0)
        cli_note(c, "%s", none);
    return 0;
}

int cli_json_line(struct cli *c, json_t *value)
{
    return dump(c, value);
}
