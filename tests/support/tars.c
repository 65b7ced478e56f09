/* tars.c - see tars.h. */
#include "support/tars.h"

#include <archive_entry.h>

#include "support/command.h"

struct archive *tar_make(const char *path, int filter, int filter_over)
{
    struct archive *tar = archive_write_new();
    assert_non_null(tar);
    assert_true(archive_write_set_format_pax_restricted(tar) >= ARCHIVE_WARN);
    assert_true(archive_write_add_filter(tar, filter) >= ARCHIVE_WARN);
    if (filter_over) { assert_true(archive_write_add_filter(tar, filter_over) >= ARCHIVE_WARN); }
    assert_int_equal(archive_write_open_filename(tar, path), ARCHIVE_OK);
    return tar;
}

static struct archive_entry *make_entry(const char *name, unsigned type, long long size)
{
    struct archive_entry *entry = archive_entry_new();
    assert_non_null(entry);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, size);
    return entry;
}

static void write_entry(struct archive *tar, struct archive_entry *entry)
{
    const int code = archive_write_header(tar, entry);
    if (code < ARCHIVE_WARN) { fail_msg("%s", archive_error_string(tar)); }
    archive_entry_free(entry);
}

void tar_add(struct archive *tar, const char *name, const void *bytes, size_t size)
{
    write_entry(tar, make_entry(name, AE_IFREG, (long long)size));
    for (size_t done = 0; done < size;) {
        const la_ssize_t n = archive_write_data(tar, (const char *)bytes + done, size - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

void tar_add_text(struct archive *tar, const char *name, const char *text)
{
    tar_add(tar, name, text, strlen(text));
}

void tar_add_special(struct archive *tar, const char *name, unsigned type, const char *link)
{
    struct archive_entry *entry = make_entry(name, type, 0);
    if (link && type == AE_IFLNK) { archive_entry_set_symlink(entry, link); }
    if (link && type == AE_IFREG) { archive_entry_set_hardlink(entry, link); }
    write_entry(tar, entry);
}

void tar_end(struct archive *tar)
{
    assert_int_equal(archive_write_close(tar), ARCHIVE_OK);
    assert_int_equal(archive_write_free(tar), ARCHIVE_OK);
}
